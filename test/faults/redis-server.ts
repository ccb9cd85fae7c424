import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { until } from './wait.ts'

/**
 * A Redis with an append-only file that can be broken in several ways. Each way resolves to the time when it was
 * back, Unix ms.
 */
export type BreakableRedis = {
  url: string
  port: number
  /** SIGKILL; its keeper starts it again on its port and from its file. */
  kill(): Promise<number>
  /** Stops it as an administrator does. */
  stop(): Promise<void>
  /** Starts it again, at its port and from its file. */
  start(): Promise<number>
  /** Stops and starts it, with so long in between. */
  halt(ms: number): Promise<number>
  /** FLUSHALL: Redis runs, and is empty. */
  empty(): Promise<number>
  /** SIGSTOP: connections stay open and nothing answers. SIGCONT after so long. */
  freeze(ms: number): Promise<number>
  /** Its memory is full, so that it refuses every write. There is room again after `meanwhile`. */
  fill(meanwhile: () => Promise<unknown>): Promise<number>
  /**
   * Limits its memory so that new work is refused when so many more bytes are in use. Resolves to a function that
   * removes the limit and answers how many commands Redis itself refused.
   */
  narrow(bytes: number): Promise<() => Promise<number>>
  close(): Promise<void>
}

const BACK_MS = 20_000
/** Default of `redis.memory_share`. */
const MEMORY_SHARE = 0.7

/** As `npm start` has it: append-only file, fsync every second. */
export async function startBreakableRedis(directory: string): Promise<BreakableRedis> {
  let running: EmbeddedRedis = await startEmbeddedRedis({ directory })
  const { port, url } = running
  const command = async (...words: [string, ...string[]]) => {
    const client = createRedis({ url, role: 'commands', name: 'faults' })
    try {
      return await client.call(...words)
    } finally {
      await closeRedis(client)
    }
  }
  /** A number from INFO; 0 if it is missing. */
  const readInfo = async (section: string, place: { exec(text: string): RegExpExecArray | null }) =>
    Number(place.exec(String(await command('INFO', section)))?.[1] ?? 0)
  const limit = (maxmemory: string) => command('CONFIG', 'SET', 'maxmemory', maxmemory)
  const stop = () => running.close()
  const start = async () => {
    running = await startEmbeddedRedis({ directory, port })
    return Date.now()
  }
  return {
    url,
    port,
    async kill() {
      const victim = running.pid
      process.kill(victim, 'SIGKILL')
      // The keeper names the new process once it serves.
      await until(() => (running.pid === victim ? null : true), BACK_MS, 'the killed Redis')
      return Date.now()
    },
    stop,
    start,
    async halt(ms) {
      await stop()
      await sleep(ms)
      return start()
    },
    async empty() {
      await command('FLUSHALL')
      return Date.now()
    },
    async freeze(ms) {
      const { pid } = running
      process.kill(pid, 'SIGSTOP')
      try {
        await sleep(ms)
      } finally {
        process.kill(pid, 'SIGCONT')
      }
      return Date.now()
    },
    async fill(meanwhile) {
      await limit('1')
      try {
        await meanwhile()
      } finally {
        await limit('0')
      }
      return Date.now()
    },
    async narrow(bytes) {
      const used = await readInfo('memory', /^used_memory:(\d+)/m)
      await limit(String(Math.round((used + bytes) / MEMORY_SHARE)))
      return async () => {
        await limit('0')
        return readInfo('errorstats', /^errorstat_OOM:count=(\d+)/m)
      }
    },
    close: () => running.close(),
  }
}
