import type { RedisClient } from '../lib/redis.ts'
import { tenantRoot, tenantsKey } from './keys.ts'
import type { Mishap } from './mishaps.ts'
import { OUTBOX_GRACE_MS, type Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/** Work done a tenant in one pass; the rest waits for the next. */
const BATCH = 500

/** What of a tenant wants attention: entries left in the outbox, and ids of jobs. */
type Findings = { tenant: string; outbox: number; overdue: string[]; draining: string[] }

/** Repairs what no single job's way does. Any number of processes may run it at once. */
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
  /** Unix ms, by Redis' clock: what to look at. The scripts decide by that clock itself. */
  now: () => number
  onMishap?: (mishap: Mishap) => void
}): Maintenance {
  const { redis, scripts, outbox, prefix, now } = deps

  async function look(tenant: string): Promise<Findings> {
    const root = tenantRoot(prefix, tenant)
    const time = now()
    const [left, overdue, draining] = await Promise.all([
      redis.zcount(`${root}:outbox`, '-inf', time - OUTBOX_GRACE_MS),
      redis.zrangebyscore(`${root}:deadlines`, '-inf', time, 'LIMIT', 0, BATCH),
      redis.smembers(`${root}:draining`),
    ])
    return { tenant, outbox: left, overdue, draining }
  }

  async function attend({ tenant, outbox: left, overdue, draining }: Findings): Promise<void> {
    const root = tenantRoot(prefix, tenant)
    if (left > 0) await outbox.sweep(tenant, OUTBOX_GRACE_MS)
    for (const id of overdue) {
      const answer = (await scripts.run('expire', root, [id, deps.retainMs()])) as Buffer[]
      await outbox.dispatchById(tenant, answer[1]?.toString() ?? '')
      if (answer[0]?.toString() !== 'failed') continue
      const [lane = '', requestId = ''] = answer.slice(2).map(String)
      const detail = { code: 'deadline_exceeded' }
      deps.onMishap?.({ kind: 'failed', tenant, job: id, lane, requestId: requestId || null, detail })
    }
    for (const id of draining) {
      while (((await scripts.run('drain', root, [id, deps.retainMs()])) as number) > 0) {}
    }
  }

  const tenants = () => redis.smembers(tenantsKey(prefix))

  return {
    tenants,
    async register(names) {
      if (names.length > 0) await redis.sadd(tenantsKey(prefix), ...names)
    },
    async sweep() {
      // Looked at together, in one trip of the socket; mostly there is nothing to do.
      for (const found of await Promise.all((await tenants()).map(look))) await attend(found)
    },
  }
}
