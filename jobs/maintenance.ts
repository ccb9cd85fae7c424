import type { Emit } from '../lib/emitter.ts'
import { paced } from '../lib/pace.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { type ActiveTenants, createActiveTenants } from './active-tenants.ts'
import { createDeadlines } from './deadlines.ts'
import { finishNextFollowers } from './finish.ts'
import type { Incident } from './incidents.ts'
import { tenantRoot, tenantsKey } from './keys.ts'
import { OUTBOX_GRACE_MS } from './leases.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'
import { createTenantWatch, type TenantWatch } from './tenant-watch.ts'

/** How many tenants one pass handles at the same time. */
const TENANTS_AT_ONCE = 8

/** Housekeeping over all jobs of a tenant. Any number of processes may run it at once. */
export type Maintenance = {
  /** Which tenants have something due. */
  watch: TenantWatch
  /** Queues what is due in outboxes: jobs of dead workers, jobs left there by a crash, scheduled jobs whose time has come. */
  sweepOutboxes(signal?: AbortSignal): Promise<void>
  /** Fails waiting jobs whose deadline has passed. */
  expireDeadlines(signal?: AbortSignal): Promise<void>
  /** Ends the remaining followers of an ended leader, if the worker that ended them died. */
  endFollowers(signal?: AbortSignal): Promise<void>
  /** Does all of these for all tenants, without asking what is due. A failure affects only its tenant or its job. */
  sweep(): Promise<void>
  /**
   * The tenants of all processes, and those given to `register`, which are announced again if Redis does not know them.
   */
  tenants(): Promise<string[]>
  /** Sets the tenants of this process and announces them to the maintainer. If that fails, `tenants` does it later. */
  register(tenants: string[]): Promise<void>
}

export function createMaintenance(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  retainMs: () => number
  /** Ended jobs are copied to the history. */
  keepsHistory: boolean
  /** Tenants that something was written for lately. */
  active?: ActiveTenants
  /** Unix ms, by Redis' clock: chooses what to look at. The scripts decide by Redis' clock itself. */
  now: () => number
  events?: Emit<{ 'job.incident': Incident }>
  /** Hears of each tenant and job that a pass could not handle. */
  onFailure?: OnUpkeepFailure
}): Maintenance {
  const { redis, scripts, outbox, prefix, onFailure = () => {} } = deps
  const deadlines = createDeadlines(deps)
  let own: readonly string[] = []

  /** Redis may have started after this process, or may have been emptied. So missing tenants are written again. */
  async function tenants(): Promise<string[]> {
    const known = new Set(await redis.smembers(tenantsKey(prefix)))
    const missing = own.filter((name) => !known.has(name))
    if (missing.length > 0) await redis.sadd(tenantsKey(prefix), ...missing)
    return [...known, ...missing]
  }

  const watch = createTenantWatch({
    ...deps,
    tenants,
    active: deps.active ?? createActiveTenants(deps),
    onFailure,
  })

  async function visitDue(
    kind: 'outbox' | 'deadlines' | 'followers',
    visit: (tenant: string) => Promise<unknown>,
  ): Promise<void> {
    const fail = (error: unknown, tenant: string) => onFailure({ task: kind, tenant, error })
    await visitAll(watch.take(kind), visit, fail, { atOnce: TENANTS_AT_ONCE, endsWithStore: true })
  }

  async function sweepOutboxes(signal?: AbortSignal): Promise<void> {
    await visitDue('outbox', (tenant) => outbox.sweep(tenant, OUTBOX_GRACE_MS, signal))
  }

  async function endFollowers(signal?: AbortSignal): Promise<void> {
    await visitDue('followers', async (tenant) => {
      const root = tenantRoot(prefix, tenant)
      const drain = async (id: string) => {
        let left: number
        const step = () => finishNextFollowers(scripts, root, id, deps.retainMs())
        do left = await paced(step, { isAwaited: true })
        while (left > 0 && !signal?.aborted)
      }
      const fail = (error: unknown, id: string) => onFailure({ task: 'followers', tenant, id, error })
      await visitAll(await redis.smembers(`${root}:draining`), drain, fail, { endsWithStore: true })
    })
  }

  const expireDeadlines = (signal?: AbortSignal) =>
    visitDue('deadlines', (tenant) => deadlines.expire(tenant, signal))

  return {
    watch,
    tenants,
    sweepOutboxes,
    expireDeadlines,
    endFollowers,
    async register(names) {
      own = names
      if (names.length > 0) await redis.sadd(tenantsKey(prefix), ...names)
    },
    async sweep() {
      await watch.read(await tenants())
      await Promise.all([sweepOutboxes(), expireDeadlines(), endFollowers()])
    },
  }
}
