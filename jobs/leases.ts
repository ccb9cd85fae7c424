import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot } from './keys.ts'
import { createScripts } from './scripts.ts'

/** An outbox entry this old was left by a crash or an outage: its writer had its chance. */
export const OUTBOX_GRACE_MS = 2000

/** An entry of a lane's queue under the lock of whoever fetched it. */
export type Lock = { entry: string; token: string }

/**
 * What a worker holds its jobs by: the locks of queue entries, and the places in the outbox of jobs straight from the API.
 * Each ends by itself unless it is renewed. Knows nothing of BullMQ but where its locks are, for the thread that
 * renews them needs no more of it.
 */
export type Leases = {
  /** Answers the entries whose locks are lost. */
  renewLocks(lane: string, locks: readonly Lock[]): Promise<string[]>
  /** `entries` are `<id>-<number>` each. */
  renewPlaces(tenant: string, entries: readonly string[]): Promise<void>
}

export function createLeases(deps: {
  redis: RedisClient
  prefix: string
  /** How long a lock, and a place, lasts from its renewal, ms. */
  lockMs: number
  placeMs: number
}): Leases {
  const { redis, prefix, lockMs, placeMs } = deps
  const scripts = createScripts(redis)
  redis.defineCommand('sluiceExtendLocks', {
    numberOfKeys: 2,
    lua: readFileSync(new URL('./lua/extend-locks.lua', import.meta.url), 'utf8'),
  })
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<string[]>>
  return {
    async renewLocks(lane, locks) {
      if (locks.length === 0) return []
      const base = `${prefix}:{l:${lane}}:calls:`
      const pairs = locks.flatMap(({ entry, token }) => [entry, token])
      return commands.sluiceExtendLocks!(`${base}stalled`, base, lockMs, ...pairs)
    },
    async renewPlaces(tenant, entries) {
      if (entries.length > 0) await scripts.run('renew', tenantRoot(prefix, tenant), [placeMs, ...entries])
    },
  }
}
