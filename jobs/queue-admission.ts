import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot } from './keys.ts'

/** How often the open jobs of all tenants are counted, ms. Between two counts a process adds its own. */
const COUNT_MS = 1000

/**
 * The limit on open jobs of all tenants together. Tenants are in different slots, so the create script cannot check it.
 * Each process may exceed it by the jobs that others admit within a second. A tenant's own limit is exact.
 */
export type QueueAdmission = {
  /** True if no further job fits. */
  isFull(): Promise<boolean>
  /** This process has admitted this many jobs. */
  fill(jobs: number): void
}

export function createQueueAdmission(deps: {
  redis: RedisClient
  prefix: string
  tenants: () => Promise<string[]>
  most: () => number
  now: () => number
}): QueueAdmission {
  let count = 0
  let countedAt = Number.NEGATIVE_INFINITY
  let counting: Promise<void> | null = null

  async function recount(): Promise<void> {
    const keys = (await deps.tenants()).flatMap((tenant) =>
      ['scheduled', 'queued', 'running'].map(
        (status) => `${tenantRoot(deps.prefix, tenant)}:status:${status}`,
      ),
    )
    const sizes = await Promise.all(keys.map((key) => deps.redis.zcard(key)))
    count = sizes.reduce((sum, size) => sum + size, 0)
    countedAt = deps.now()
  }

  return {
    async isFull() {
      if (deps.now() - countedAt >= COUNT_MS) {
        counting ??= recount().finally(() => {
          counting = null
        })
        await counting
      }
      return count >= deps.most()
    },
    fill(jobs) {
      count += jobs
    },
  }
}
