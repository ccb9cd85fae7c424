import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/** Jobs forgotten in one script, which holds Redis for a millisecond or two then. */
const BLOCK = 50

/** Forgets jobs when their retention is over. Any number of processes may do so at once, and share the work. */
export type Retention = {
  /** Goes on until nothing of any tenant is over, or the signal aborts; answers how many jobs were forgotten. */
  run(signal?: AbortSignal): Promise<number>
}

export function createRetention(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  tenants: () => Promise<string[]>
  /** Unix ms, by Redis' clock: whose jobs to look at. The script decides by that clock itself. */
  now: () => number
  /** A tenant's jobs could not be forgotten; the others' are all the same. */
  onError: (error: unknown, tenant: string) => void
}): Retention {
  const { redis, scripts, outbox, prefix, now, onError } = deps

  async function isDue(tenant: string): Promise<boolean> {
    const key = `${tenantRoot(prefix, tenant)}:expiry`
    return (await redis.zrangebyscore(key, '-inf', now(), 'LIMIT', 0, 1)).length > 0
  }

  /** Answers how many there were. */
  async function retire(tenant: string): Promise<number> {
    const answer = await scripts.run('retire', tenantRoot(prefix, tenant), [BLOCK])
    const [count, ...promoted] = answer as [number, ...Buffer[]]
    for (const id of promoted) await outbox.dispatchById(tenant, id.toString())
    return count
  }

  async function orTell<T>(tenant: string, operation: Promise<T>, otherwise: T): Promise<T> {
    try {
      return await operation
    } catch (error) {
      onError(error, tenant)
      return otherwise
    }
  }

  return {
    async run(signal) {
      const names = await deps.tenants()
      // Looked at together, in one trip of the socket; mostly there is nothing to do.
      const due = await Promise.all(names.map((tenant) => orTell(tenant, isDue(tenant), false)))
      let waiting = names.filter((_, index) => due[index])
      let total = 0
      // One block of each tenant, then another of each, one after the other: who else wants Redis gets it in between.
      while (waiting.length > 0) {
        const full: string[] = []
        for (const tenant of waiting) {
          if (signal?.aborted) return total
          const count = await orTell(tenant, retire(tenant), 0)
          total += count
          if (count === BLOCK) full.push(tenant)
        }
        waiting = full
      }
      return total
    },
  }
}
