import type { RedisClient } from '../lib/redis.ts'
import type { Files } from './files.ts'

/**
 * Files that jobs hold: they live as long as the last job that has them. The scripts of jobs/ keep count (`files:unheld` in
 * jobs/lua/common.lua), because a job and its files must not part; here the files are written and removed.
 */
export type HeldFiles = {
  /**
   * Writes bytes of an answer. Nobody holds them until the answer is stored; a file that stays so is removed after a day. Again:
   * the same files.
   */
  put(tenant: string, files: readonly { id: string; filename: string; bytes: Uint8Array }[]): Promise<void>
  /** Removes the files of the tenant that nobody holds any more; returns how many. */
  sweep(tenant: string): Promise<number>
}

/** What files of answers are for. */
export const OUTPUT_PURPOSE = 'job_output'

/** How long the answer of a written file may take to be stored. A worker that tries again notes its files again. */
const UNHELD_MS = 24 * 60 * 60 * 1000

/** Files looked at in one round trip. */
const BLOCK = 200

/**
 * @param deps.root names a tenant's root key, hash tag included
 * @param deps.now Unix ms, by Redis' clock
 */
export function createHeldFiles(deps: {
  redis: RedisClient
  files: Pick<Files, 'put' | 'remove'>
  root: (tenant: string) => string
  now: () => number
}): HeldFiles {
  const { redis, files } = deps
  const keyOf = (tenant: string) => `${deps.root(tenant)}:files:unheld`

  return {
    async put(tenant, given) {
      const until = Math.round(deps.now() + UNHELD_MS)
      await redis.zadd(keyOf(tenant), ...given.flatMap(({ id }) => [until, id]))
      await Promise.all(
        given.map(({ id, filename, bytes }) =>
          files.put(tenant, id, { filename, purpose: OUTPUT_PURPOSE, expiresAt: null }, bytes),
        ),
      )
    },

    async sweep(tenant) {
      let total = 0
      for (let first = ''; ; ) {
        const [seconds, micros] = await redis.time()
        const now = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
        const due = await redis.zrangebyscore(keyOf(tenant), '-inf', now, 'LIMIT', 0, BLOCK)
        if (due.length === 0 || due[0] === first) return total
        first = due[0]!
        for (const id of due) if (await files.remove(tenant, id)) total++
        // After the files: what a crash leaves here is looked at again.
        await redis.zrem(keyOf(tenant), ...due)
        if (due.length < BLOCK) return total
      }
    },
  }
}
