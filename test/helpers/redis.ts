import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../lib/embedded-redis.ts'
import { RUN_VARIABLE } from './run-processes.ts'

/** The Redis that all test files share, with a key prefix of one's own. The fastest way; never flush it. */
export function testRedis(): { url: string; prefix: string } {
  return { url: inject('redisUrl'), prefix: `test-${randomUUID()}` }
}

export type TestRedisOptions = {
  /** Keeps its data when it is restarted; needs a moment longer. */
  durable?: boolean
  maxmemory?: string
  extraArgs?: string[]
}

/** A Redis of one's own, about 100 ms away: to flush, to fill, to kill. Close it at the end. */
export async function startTestRedis({
  durable = false,
  maxmemory,
  extraArgs = [],
}: TestRedisOptions = {}): Promise<EmbeddedRedis> {
  const directory = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'redis-'))
  const redis = await startEmbeddedRedis({
    directory,
    ...(maxmemory === undefined ? {} : { maxmemory }),
    extraArgs: ['--appendonly', durable ? 'yes' : 'no', ...extraArgs],
  })
  return {
    url: redis.url,
    port: redis.port,
    get pid() {
      return redis.pid
    },
    async close() {
      await redis.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
