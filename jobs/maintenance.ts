import type { RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { tenantRoot, tenantsKey } from './keys.ts'
import { OUTBOX_GRACE_MS } from './leases.ts'
import type { Mishap } from './mishaps.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/** Work done a tenant in one pass; the rest waits for the next. */
const BATCH = 500

/** Tenants looked after at the same time in one pass. */
const TENANTS_AT_ONCE = 8

/** What of a tenant wants attention: entries left in the outbox, and ids of jobs. */
type Findings = { tenant: string; outbox: number; overdue: string[]; draining: string[] }

/** Repairs what no single job's way does. Any number of processes may run it at once. */
export type Maintenance = {
  /** One pass over all tenants. What fails for one of them, or one job, costs only that. */
  sweep(): Promise<void>
  /** Those of all processes, and those given to `register`, which are made known again where Redis does not know them. */
  tenants(): Promise<string[]>
  /** Makes these the tenants of this process, and known to the sweepers of all. Where that fails, `tenants` does it later. */
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
  /** Told of each tenant and job that a pass could not look after. */
  onFailure?: OnUpkeepFailure
}): Maintenance {
  const { redis, scripts, outbox, prefix, now, onFailure = () => {} } = deps
  let own: readonly string[] = []

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
    const each = (task: string, ids: string[], visit: (id: string) => Promise<unknown>) =>
      visitAll(ids, visit, (error, id) => onFailure({ task, tenant, id, error }), { endsWithStore: true })

    if (left > 0) {
      await outbox
        .sweep(tenant, OUTBOX_GRACE_MS)
        .catch((error) => onFailure({ task: 'outbox', tenant, error }))
    }
    await each('deadlines', overdue, async (id) => {
      const answer = (await scripts.run('expire', root, [id, deps.retainMs()])) as Buffer[]
      await outbox.dispatchById(tenant, answer[1]?.toString() ?? '')
      if (answer[0]?.toString() !== 'failed') return
      const [lane = '', requestId = ''] = answer.slice(2).map(String)
      const detail = { code: 'deadline_exceeded' }
      deps.onMishap?.({ kind: 'failed', tenant, job: id, lane, requestId: requestId || null, detail })
    })
    await each('followers', draining, async (id) => {
      while (((await scripts.run('drain', root, [id, deps.retainMs()])) as number) > 0) {}
    })
  }

  /** Redis may have come after this process, or have been emptied: what is missing is put there again. */
  async function tenants(): Promise<string[]> {
    const known = new Set(await redis.smembers(tenantsKey(prefix)))
    const missing = own.filter((name) => !known.has(name))
    if (missing.length > 0) await redis.sadd(tenantsKey(prefix), ...missing)
    return [...known, ...missing]
  }

  return {
    tenants,
    async register(names) {
      own = names
      if (names.length > 0) await redis.sadd(tenantsKey(prefix), ...names)
    },
    async sweep() {
      const found: Findings[] = []
      const onTenant = (error: unknown, tenant: string) => onFailure({ task: 'sweep', tenant, error })
      // Looked at together, in one trip of the socket; mostly there is nothing to do.
      const names = await tenants()
      await visitAll(names, async (tenant) => found.push(await look(tenant)), onTenant, {
        atOnce: names.length,
      })
      await visitAll(found, attend, (error, { tenant }) => onTenant(error, tenant), {
        atOnce: TENANTS_AT_ONCE,
      })
    },
  }
}
