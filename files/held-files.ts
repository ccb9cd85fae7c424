import type { RedisClient } from '../lib/redis.ts'
import type { Files } from './files.ts'

/**
 * Files that jobs hold: they exist until the last job that holds them is deleted. The scripts of jobs/ keep the counts (`files:unheld` in
 * jobs/lua/common.lua), because a job and its files must change together. This file writes and removes the files.
 */
export type HeldFiles = {
  /**
   * Writes the files of an answer. No job holds them until the answer is stored; files that stay unheld are removed after a day. Called
   * again, it writes the same files.
   */
  put(tenant: string, files: readonly { id: string; filename: string; bytes: Uint8Array }[]): Promise<void>
  /** Removes the tenant's files that no job holds any more. Returns how many. */
  sweep(tenant: string): Promise<number>
}

/** The purpose of answers' files. */
export const OUTPUT_PURPOSE = 'job_output'

/** How long storing the answer of written files may take, ms. A worker that tries again notes its files again. */
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
        // Last: what a crash leaves here is looked at again.
        await redis.zrem(keyOf(tenant), ...due)
        if (due.length < BLOCK) return total
      }
    },
  }
}
