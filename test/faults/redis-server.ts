import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../lib/embedded-redis.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { until } from './wait.ts'

/** A Redis with an append-only file that can be broken in four ways. Each resolves to when it was back, Unix ms. */
export type BreakableRedis = {
  url: string
  port: number
  /** SIGKILL; its keeper starts it again on its port and from its file. */
  kill(): Promise<number>
  /** Ends it as an administrator does, and starts it again after so long. */
  halt(ms: number): Promise<number>
  /** SIGSTOP: connections stand and nothing answers. SIGCONT after so long. */
  freeze(ms: number): Promise<number>
  /** Its memory is full, so that it refuses every write. Room again after `meanwhile`. */
  fill(meanwhile: () => Promise<unknown>): Promise<number>
  close(): Promise<void>
}

const BACK_MS = 20_000

/** As `npm start` has it: append-only file, fsync every second. */
export async function startBreakableRedis(directory: string): Promise<BreakableRedis> {
  let running: EmbeddedRedis = await startEmbeddedRedis({ directory })
  const { port, url } = running
  const limit = async (maxmemory: string) => {
    const client = createRedis({ url, role: 'commands', name: 'faults' })
    try {
      await client.config('SET', 'maxmemory', maxmemory)
    } finally {
      await closeRedis(client)
    }
  }
  return {
    url,
    port,
    async kill() {
      const victim = running.pid
      process.kill(victim, 'SIGKILL')
      // The keeper gives out the new process once it serves.
      await until(() => (running.pid === victim ? null : true), BACK_MS, 'the killed Redis')
      return Date.now()
    },
    async halt(ms) {
      await running.close()
      await sleep(ms)
      running = await startEmbeddedRedis({ directory, port })
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
    close: () => running.close(),
  }
}
