import type { RedisClient } from '../lib/redis.ts'
import { LONGEST_PAUSE_DELAY_MS } from './lane-queue.ts'
import type { Queues } from './queue.ts'

/** How long a pause without an end lasts, ms: ten years. */
const ENDLESS_MS = 10 * 365 * 86_400_000
/** Clocks of workers and of Redis should differ by less than this, ms. */
const CLOCKS_DIFFER_MS = 60_000

/** Holds back the calls of one tenant, in all lanes and processes. `start.lua` enforces it. */
export type TenantPauses = {
  /** @param forMs how long; null: until the tenant is resumed */
  pause(tenant: string, forMs: number | null, reason: string): Promise<void>
  /** Jobs that wait for the end of the pause may start at once. */
  resume(tenant: string): Promise<void>
}

/**
 * @param deps.root gives the prefix of all keys of a tenant
 * @param deps.wake wakes the loops of a lane
 * @param deps.now Unix ms
 */
export function createTenantPauses(deps: {
  redis: RedisClient
  root: (tenant: string) => string
  queues: Pick<Queues, 'lanes' | 'promote'>
  wake: (lane: string) => Promise<unknown>
  now: () => number
}): TenantPauses {
  const { redis, queues } = deps
  const keyOf = (tenant: string) => `${deps.root(tenant)}:paused`
  return {
    async pause(tenant, forMs, reason) {
      await redis.set(keyOf(tenant), reason, 'PX', Math.min(forMs ?? ENDLESS_MS, ENDLESS_MS))
    },
    async resume(tenant) {
      if ((await redis.del(keyOf(tenant))) === 0) return
      const dueBy = deps.now() + LONGEST_PAUSE_DELAY_MS + CLOCKS_DIFFER_MS
      for (const lane of await queues.lanes()) {
        await queues.promote(lane, dueBy)
        await deps.wake(lane)
      }
    },
  }
}
