import type { Redis } from 'ioredis'

/** One kind of command that clients sent: a script by its name, or a command by its own. */
export type TracedCommand = {
  /** Which connection sent it, by its name. */
  client: string
  name: string
  isScript: boolean
  calls: number
  /** Time that Redis spent in it. */
  microseconds: number
}

/** SLOWLOG's answer: number, time, duration in µs, arguments, address, name of the connection. */
type SlowlogEntry = [number, number, number, string[], string, string]

/** The memory of the log would grow with it; a traced run stays far below. */
const MOST_ENTRIES = 1_000_000

/**
 * Records what clients sent while `run` ran, by Redis' own slow log with every command counted as slow. Commands
 * inside of a script count for the script.
 *
 * @param names digests of scripts and their names
 */
export async function traceCommands(
  redis: Redis,
  names: ReadonlyMap<string, string>,
  run: () => Promise<unknown>,
): Promise<TracedCommand[]> {
  await redis.config('SET', 'slowlog-max-len', MOST_ENTRIES)
  await redis.slowlog('RESET')
  await redis.config('SET', 'slowlog-log-slower-than', 0)
  try {
    await run()
  } finally {
    await redis.config('SET', 'slowlog-log-slower-than', -1)
  }
  const entries = (await redis.slowlog('GET', -1)) as SlowlogEntry[]
  await redis.slowlog('RESET')
  const traced = new Map<string, TracedCommand>()
  for (const [, , microseconds, words, , client] of entries) {
    const { name, isScript } = nameCommand(words, names)
    const key = `${client} ${name}`
    const known = traced.get(key) ?? { client, name, isScript, calls: 0, microseconds: 0 }
    known.calls++
    known.microseconds += microseconds
    traced.set(key, known)
  }
  return [...traced.values()].sort((a, b) => b.microseconds - a.microseconds)
}

function nameCommand(
  words: string[],
  names: ReadonlyMap<string, string>,
): Pick<TracedCommand, 'name' | 'isScript'> {
  const command = words[0]!.toUpperCase()
  if (command === 'EVALSHA')
    return { name: names.get(words[1]!) ?? `script ${words[1]!.slice(0, 8)}`, isScript: true }
  // Sent once a connection, with its text; the log keeps no more than the beginning of that.
  if (command === 'EVAL') return { name: 'EVAL (loads a script)', isScript: true }
  return { name: command, isScript: false }
}
