import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot, tenantsKey } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/** Work done a tenant in one pass; the rest waits for the next. */
const BATCH = 500

/** An outbox entry this old was left by a crash or an outage: whoever wrote it had its chance. */
const OUTBOX_GRACE_MS = 2000

/** Repairs and cleans up what no single job's way does. Any number of processes may run it at once. */
export type Maintenance = {
  /** One pass over all tenants. */
  sweep(): Promise<void>
  tenants(): Promise<string[]>
  /** Makes tenants known to the sweepers of all processes. */
  register(tenants: string[]): Promise<void>
}

export function createMaintenance(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  retainMs: () => number
  now: () => number
}): Maintenance {
  const { redis, scripts, outbox, prefix, now } = deps

  async function sweepTenant(tenant: string): Promise<void> {
    const root = tenantRoot(prefix, tenant)
    while ((await outbox.sweep(tenant, OUTBOX_GRACE_MS)) >= BATCH) {}

    for (const id of await redis.zrangebyscore(`${root}:deadlines`, '-inf', now(), 'LIMIT', 0, BATCH)) {
      const answer = (await scripts.run('expire', root, [id, deps.retainMs()])) as Buffer[]
      await outbox.dispatchById(tenant, answer[1]?.toString() ?? '')
    }
    for (const id of await redis.smembers(`${root}:draining`)) {
      while (((await scripts.run('drain', root, [id, deps.retainMs()])) as number) > 0) {}
    }
    for (const id of await redis.zrangebyscore(`${root}:expiry`, '-inf', now(), 'LIMIT', 0, BATCH)) {
      await scripts.run('remove', root, [id, '0'])
    }
  }

  const tenants = () => redis.smembers(tenantsKey(prefix))

  return {
    tenants,
    async register(names) {
      if (names.length > 0) await redis.sadd(tenantsKey(prefix), ...names)
    },
    async sweep() {
      for (const tenant of await tenants()) await sweepTenant(tenant)
    },
  }
}
