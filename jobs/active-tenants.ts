import type { RedisClient } from '../lib/redis.ts'
import { tenantOf } from './keys.ts'
import type { ScriptName, Scripts } from './scripts.ts'

/** A process names a tenant as active at most once in this time, ms. */
const NAMED_FOR_MS = 5000

/**
 * A tenant counts as active for this long after it was named, ms. This is longer than the time above, and than
 * processes' views of Redis' time differ.
 */
const ACTIVE_FOR_MS = 10_000

/** Older entries are of no use any more, ms. */
const KEPT_MS = 60_000

/** How many tenants a process remembers to have named. Beyond that, the oldest one is named again. */
const MOST_REMEMBERED = 20_000

/** These scripts write nothing that needs the maintainer. */
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
 * Which tenants something was written for lately: one sorted set, so that the maintainer need not look at idle tenants.
 * Before a process writes, it names the tenant on the same connection and without waiting, once for everything that it
 * writes within 5 s. A lost name costs time and no job, because the maintainer also walks slowly over all tenants.
 */
export type ActiveTenants = {
  /** Something is about to be written for the tenant. */
  touch(tenant: string): void
  /** The tenants that were touched within the last ten seconds. */
  list(): Promise<string[]>
  /** Forgets tenants that were touched long ago. */
  trim(): Promise<void>
}

/** The sorted set of tenants, by the time of the last write for them (Unix ms). */
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
  const namedAt = new Map<string, number>()
  return {
    touch(tenant) {
      const time = performance.now()
      if (time - (namedAt.get(tenant) ?? Number.NEGATIVE_INFINITY) < NAMED_FOR_MS) return
      namedAt.delete(tenant)
      namedAt.set(tenant, time)
      if (namedAt.size > MOST_REMEMBERED) namedAt.delete(namedAt.keys().next().value!)
      redis.zadd(key, now(), tenant).catch(() => {
        if (namedAt.get(tenant) === time) namedAt.delete(tenant)
      })
    },
    list: () => redis.zrangebyscore(key, now() - ACTIVE_FOR_MS, '+inf'),
    async trim() {
      await redis.zremrangebyscore(key, '-inf', now() - KEPT_MS)
    },
  }
}

/** The same scripts. Those that may leave work for the maintainer name their tenant first. */
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
    run(name, root, args) {
      touch(name, root)
      return scripts.run(name, root, args)
    },
    runWithKeys(name, call) {
      touch(name, call.root)
      return scripts.runWithKeys(name, call)
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
