import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'

export type LaunchOptions = {
  /** The server's binary. */
  server: string
  args: string[]
  /** The port that the arguments name. */
  port: number
  /** What its configuration asks for; null: nothing. */
  password: string | null
  /** Gets the server's warnings once it serves. */
  log: (line: string) => void
}

export type RunningServer = {
  pid: number
  /** Resolves when the server has ended, with the reason. */
  ended: Promise<string>
  /** Makes the server write its log and end; resolves when it has ended, at once if it had already. */
  stop(): Promise<void>
}

type Served = { pid: number }

const POLL_MS = 10
/** How much of what a server said last goes into the report of its end. */
const LINES_KEPT = 3

/**
 * Runs one server under a keeper (see embedded-redis-keeper.ts) and resolves when it serves. Rejects with the
 * server's own words when it ends before that. It does not keep this process alive.
 */
export async function launchRedisServer(options: LaunchOptions): Promise<RunningServer> {
  const { server, args, port, password, log } = options
  const keeper = spawn(
    process.execPath,
    [fileURLToPath(new URL(`./keeper${extname(import.meta.filename)}`, import.meta.url)), server, ...args],
    // A session of its own: a terminal's Ctrl-C must reach Redis after this process has drained, not with it.
    { detached: true, stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...process.env, NODE_OPTIONS: '' } },
  )
  const said = readLines(keeper)
  const pid = once(keeper, 'message').then(([message]) => (message as { pid: number }).pid)
  const ended = once(keeper, 'exit').then(([code, signal]) => {
    return [signal === null ? `exit code ${code}` : `keeper killed by ${signal}`, ...said.lines].join('; ')
  })
  const served = await Promise.race([waitUntilServing({ port, password }, pid, ended), ended])
  if (typeof served === 'string') throw new Error(`Redis did not start: ${served}`)
  // A keeper that was killed cannot stop its server any more.
  keeper.on('exit', (_code, signal) => {
    if (signal !== null) killQuietly(served.pid)
  })
  said.lines = []
  said.onWarning = log
  releaseEventLoop(keeper)
  const stop = async () => {
    said.onWarning = () => {}
    keeper.ref()
    // To the keeper the end of the channel is the end of the program.
    if (keeper.connected) keeper.disconnect()
    await ended
  }
  return { pid: served.pid, ended, stop }
}

/** Collects what the server says, without its stamp; from when `onWarning` is set it hears the warnings. */
function readLines(keeper: ChildProcess): { lines: string[]; onWarning: (line: string) => void } {
  const said = { lines: [] as string[], onWarning: (_line: string) => {} }
  for (const stream of [keeper.stdout, keeper.stderr]) {
    if (stream === null) continue
    createInterface({ input: stream }).on('line', (line) => {
      const text = line.replace(/^\d+:\w \d+ \w+ \d+ [\d:.]+ /, '')
      // Redis marks warnings with #, notices with *. Every start repeats the advice about the machine's memory.
      if (!text.startsWith('# ') || text.startsWith('# WARNING Memory overcommit')) return
      said.lines = [...said.lines, text.slice(2)].slice(-LINES_KEPT)
      said.onWarning(text.slice(2))
    })
  }
  return said
}

/** Asks until the server on the port is the one started here (another process may hold the port) and has its data. */
async function waitUntilServing(
  { port, password }: { port: number; password: string | null },
  pid: Promise<number>,
  ended: Promise<string>,
): Promise<Served | string> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
    ...(password === null ? {} : { password }),
    retryStrategy: () => POLL_MS,
    maxRetriesPerRequest: null,
    maxLoadingRetryTime: 100,
  })
  // Refused until it listens; the commands below wait meanwhile.
  client.on('error', () => {})
  try {
    // When the server ends instead, the client is closed and these reject.
    const serving = Promise.all([pid, client.info('server')]).then<Served | string, Served | string>(
      ([own, info]) => (info.includes(`process_id:${own}\r\n`) ? { pid: own } : ended),
      // Another server, with another password.
      (error) => (/^(?:WRONGPASS|NOAUTH)\b/.test(String(error?.message)) ? ended : Promise.reject(error)),
    )
    return await Promise.race([serving, ended])
  } finally {
    client.disconnect()
  }
}

function releaseEventLoop(keeper: ChildProcess): void {
  keeper.unref()
  keeper.channel?.unref()
  for (const stream of [keeper.stdout, keeper.stderr]) {
    if (stream !== null && 'unref' in stream && typeof stream.unref === 'function') stream.unref()
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It went with its keeper.
  }
}
