import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot } from './keys.ts'
import { ALONE, createScripts } from './scripts.ts'

/**
 * The process that put an entry into the outbox has queued it after this time, ms. An older entry was left by a crash
 * or an outage.
 */
export const OUTBOX_GRACE_MS = 2000

/** A lane's queue entry under the lock of the worker that fetched it. */
export type Lock = { entry: string; token: string }

/**
 * How long the lock of an entry lasts, ms: two thirds of `stalledAfterMs`. A check runs every third of that time, so it
 * finds an entry without a lock before all of that time is over.
 */
export function lockLease(stalledAfterMs: number): number {
  return Math.max(300, Math.round((stalledAfterMs * 2) / 3))
}

/**
 * How long a claim or a renewal keeps a job's place in the outbox, ms. Together with the grace of the sweep, this is as
 * long as a queue entry stays locked without a renewal.
 */
export function placeLease(stalledAfterMs: number): number {
  const lockMs = lockLease(stalledAfterMs)
  // At least half a lock, because renewals come every third of a lock.
  return Math.max(Math.round(lockMs / 2), lockMs - OUTBOX_GRACE_MS)
}

/**
 * A worker holds jobs by leases: the locks of queue entries, and the places of claimed or directly dispatched jobs in
 * the outbox. Each expires unless it is renewed. This file knows only where BullMQ keeps its locks, because the thread
 * that renews them needs no more.
 */
export type Leases = {
  /** Returns the entries whose locks are lost. */
  renewLocks(lane: string, locks: readonly Lock[]): Promise<string[]>
  /** Each of `entries` is `<id>-<number>`. */
  renewPlaces(tenant: string, entries: readonly string[]): Promise<void>
}

export function createLeases(deps: {
  redis: RedisClient
  prefix: string
  /** How long a lock and a place last after a renewal, ms. */
  lockMs: number
  placeMs: number
}): Leases {
  const { redis, prefix, lockMs, placeMs } = deps
  const scripts = createScripts(redis, ALONE)
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
