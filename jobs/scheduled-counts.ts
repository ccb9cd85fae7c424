import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot } from './keys.ts'

/**
 * How long a count is valid, ms: this long, and this much longer for each tenant, because each tenant's counts are in a
 * slot of its own.
 */
const SERVES_MS = 250
const SERVES_MS_A_TENANT = 5

/** How many jobs of each lane are scheduled for later, over all tenants. The counts are a moment old. */
export type ScheduledCounts = () => Promise<ReadonlyMap<string, number>>

export function createScheduledCounts(deps: {
  redis: RedisClient
  prefix: string
  tenants: () => Promise<string[]>
}): ScheduledCounts {
  let readUntil = Number.NEGATIVE_INFINITY
  let reading: Promise<ReadonlyMap<string, number>> | null = null

  async function read(): Promise<ReadonlyMap<string, number>> {
    const tenants = await deps.tenants()
    const found = await Promise.all(
      tenants.map((tenant) => deps.redis.hgetall(`${tenantRoot(deps.prefix, tenant)}:scheduled-lanes`)),
    )
    const counts = new Map<string, number>()
    for (const [lane, count] of found.flatMap(Object.entries<string>))
      counts.set(lane, (counts.get(lane) ?? 0) + Number(count))
    readUntil = performance.now() + SERVES_MS + SERVES_MS_A_TENANT * tenants.length
    return counts
  }

  return () => {
    if (reading === null || performance.now() > readUntil) {
      readUntil = Number.POSITIVE_INFINITY
      reading = read()
      reading.catch(() => {
        reading = null
      })
    }
    return reading
  }
}
