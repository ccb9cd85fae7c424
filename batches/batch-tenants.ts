import type { RedisClient } from '../lib/redis.ts'

/**
 * Which tenants have active batches, so that workers need not ask every tenant. A hint: a tenant is added before its batch is
 * created, and the maintainer adds missing tenants and removes those without an active batch.
 */
export type BatchTenants = {
  list(): Promise<string[]>
  add(tenants: readonly string[]): Promise<void>
  /** Removes tenants without an active batch, except the given ones. */
  trim(kept: ReadonlySet<string>): Promise<void>
}

/** The set of these tenants. */
function batchTenantsKey(prefix: string): string {
  return `${prefix}:batch-tenants`
}

/** @param deps.root names a tenant's root key, hash tag included */
export function createBatchTenants(deps: {
  redis: RedisClient
  prefix: string
  root: (tenant: string) => string
}): BatchTenants {
  const { redis, root } = deps
  const key = batchTenantsKey(deps.prefix)
  const list = () => redis.smembers(key)
  return {
    list,
    async add(tenants) {
      if (tenants.length > 0) await redis.sadd(key, ...tenants)
    },
    async trim(kept) {
      const idle: string[] = []
      for (const tenant of await list()) {
        if (kept.has(tenant)) continue
        if ((await redis.exists(`${root(tenant)}:batches:active`)) === 0) idle.push(tenant)
      }
      if (idle.length > 0) await redis.srem(key, ...idle)
    },
  }
}
