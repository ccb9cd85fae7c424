import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot } from './keys.ts'
import { createScripts } from './scripts.ts'

/** An outbox entry this old was left by a crash or an outage: its writer had its chance to queue it. */
export const OUTBOX_GRACE_MS = 2000

/** A lane's queue entry under the lock of the worker that fetched it. */
export type Lock = { entry: string; token: string }

/**
 * A worker holds jobs by leases: the locks of queue entries, and the places of claimed or directly dispatched jobs in the
 * outbox. Each expires unless it is renewed. This file knows only where BullMQ keeps its locks; the thread that renews
 * them needs no more.
 */
export type Leases = {
  /** Returns the entries whose locks are lost. */
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
