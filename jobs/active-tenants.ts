import type { RedisClient } from '../lib/redis.ts'
import { tenantOf } from './keys.ts'
import type { ScriptName, Scripts } from './scripts.ts'

/** A process says at most this often that a tenant is active, ms. */
const SAID_FOR_MS = 5000

/** A tenant counts as active for this long after that, ms: longer than the pause above, and than clocks' views of Redis' time differ. */
const ACTIVE_FOR_MS = 10_000

/** Older entries are of no more use, ms. */
const KEPT_MS = 60_000

/** What a process remembers of tenants that it named; beyond, the oldest is named once more. */
const MOST_REMEMBERED = 20_000

/** These write nothing that the maintainer would have to look after. */
const WITHOUT_UPKEEP = new Set<ScriptName>([
  'get-embeddings',
  'set-embeddings',
  'queued',
  'due',
  'renew',
  'delta',
  'retire',
  'expire',
  'statuses',
  'tenant-stats',
  'select',
  'models',
  'submission',
])

/**
 * Which tenants something was written for lately: one sorted set, so that the maintainer needs no look at those that are idle. A
 * process names a tenant before it writes, on the same connection and without waiting, and once for all it writes within 5 s. What is
 * lost here costs time, not jobs: the maintainer walks over all tenants slowly as well.
 */
export type ActiveTenants = {
  /** Something is about to be written for the tenant. */
  touch(tenant: string): void
  /** Those touched within the last ten seconds. */
  list(): Promise<string[]>
  /** Forgets those touched long ago. */
  trim(): Promise<void>
}

/** The sorted set of tenants that something was written for, by when that was (Unix ms). */
function activeTenantsKey(prefix: string): string {
  return `${prefix}:active-tenants`
}

/** @param deps.now Unix ms, by Redis' clock */
export function createActiveTenants(deps: {
  redis: RedisClient
  prefix: string
  now: () => number
}): ActiveTenants {
  const { redis, now } = deps
  const key = activeTenantsKey(deps.prefix)
  const said = new Map<string, number>()
  return {
    touch(tenant) {
      const time = performance.now()
      if (time - (said.get(tenant) ?? Number.NEGATIVE_INFINITY) < SAID_FOR_MS) return
      said.delete(tenant)
      said.set(tenant, time)
      if (said.size > MOST_REMEMBERED) said.delete(said.keys().next().value!)
      redis.zadd(key, now(), tenant).catch(() => {
        if (said.get(tenant) === time) said.delete(tenant)
      })
    },
    list: () => redis.zrangebyscore(key, now() - ACTIVE_FOR_MS, '+inf'),
    async trim() {
      await redis.zremrangebyscore(key, '-inf', now() - KEPT_MS)
    },
  }
}

/** The same scripts; those that may leave something to look after name their tenant first. */
export function touchingTenants(
  scripts: Scripts,
  active: Pick<ActiveTenants, 'touch'>,
  prefix: string,
): Scripts {
  const touch = (name: ScriptName, root: string) => {
    if (!WITHOUT_UPKEEP.has(name)) active.touch(tenantOf(prefix, root))
  }
  const touchAll: (name: ScriptName, calls: readonly { root: string }[]) => void = (name, calls) => {
    for (const { root } of calls) touch(name, root)
  }
  return {
    run(name, root, args, keys) {
      touch(name, root)
      return scripts.run(name, root, args, keys)
    },
    runAll(name, calls) {
      touchAll(name, calls)
      return scripts.runAll(name, calls)
    },
    settleAll(name, calls) {
      touchAll(name, calls)
      return scripts.settleAll(name, calls)
    },
  }
}
