import type { RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import type { ActiveTenants } from './active-tenants.ts'
import { tenantRoot } from './keys.ts'
import { OUTBOX_GRACE_MS } from './leases.ts'

/** How often a tenant that something is written for is looked at, ms. */
const ACTIVE_LOOK_MS = 400

/** How often the names of all tenants are read from Redis, ms. */
const NAMES_MS = 1000

/** A walk over all tenants takes at least WALK_MS, and looks at no more than MOST_A_SECOND tenants a second. */
const WALK_MS = 10_000
const MOST_A_SECOND = 100

/** In one of this many walks, each tenant is read as if nothing were known about it. */
const WHOLE_WALKS = 60

/** Tenants read at the same time. */
const AT_ONCE = 200

/** Kinds of work that a tenant may have. */
export const UPKEEP_KINDS = [
  'outbox',
  'deadlines',
  'followers',
  'retention',
  'webhooks',
  'flows',
  'batches',
  'history',
] as const
export type UpkeepKind = (typeof UPKEEP_KINDS)[number]

/** Keys that exist only while there is work to do soon. */
const SIGNS = ['outbox', 'deadlines', 'draining', 'webhooks', 'batches:active', 'history']

/**
 * What the maintainer knows about every tenant: when its next work is due. It reads a tenant while the tenant is active
 * and when work becomes due, and all tenants slowly in turn. An idle tenant costs one command in ten seconds.
 */
export type TenantWatch = {
  /** Reads the tenants whose turn it is. */
  look(): Promise<void>
  /** Reads these tenants now. */
  read(tenants: readonly string[]): Promise<void>
  /** Tenants with due work of this kind. Each is returned once, until it is read again. */
  take(kind: UpkeepKind): string[]
  /** Reads the tenant at the next look, because its due work is done. */
  readSoon(tenant: string): void
}

/** @param deps.now Unix ms, by Redis' clock: it chooses what to look at. The scripts decide by that clock itself. */
export function createTenantWatch(deps: {
  redis: RedisClient
  prefix: string
  tenants: () => Promise<string[]>
  active: ActiveTenants
  now: () => number
  onFailure: OnUpkeepFailure
  /** Ended jobs are copied to the history. */
  keepsHistory: boolean
  /** Shortest time that a walk over all tenants takes, ms. */
  walkMs?: number
}): TenantWatch {
  const { redis, prefix, active, now, walkMs = WALK_MS } = deps
  /** By kind of work: when the first work of each tenant is due (Unix ms). */
  const due = new Map(UPKEEP_KINDS.map((kind) => [kind, new Map<string, number>()]))
  /** When each tenant was read, by `performance.now`. */
  const readAt = new Map<string, number>()
  const soon = new Set<string>()
  let names: string[] = []
  let namesAt = Number.NEGATIVE_INFINITY
  let next = 0
  let walks = 0
  let walkedAt = performance.now()

  function note(tenant: string, kind: UpkeepKind, at: number | null): void {
    if (at === null) due.get(kind)!.delete(tenant)
    else due.get(kind)!.set(tenant, at)
  }

  async function readOne(tenant: string): Promise<void> {
    const root = tenantRoot(prefix, tenant)
    readAt.set(tenant, performance.now())
    const first = async (key: string) => {
      const [, score] = await redis.zrange(`${root}:${key}`, '0', '0', 'WITHSCORES')
      return score === undefined ? null : Number(score)
    }
    const isThere = async (key: string) => ((await redis.exists(`${root}:${key}`)) === 1 ? now() : null)
    const [outbox, deadlines, followers, retention, webhooks, flows, batches, history] = await Promise.all([
      first('outbox'),
      first('deadlines'),
      isThere('draining'),
      first('expiry'),
      first('webhooks'),
      first('flows:due'),
      isThere('batches:active'),
      deps.keepsHistory ? first('history') : null,
    ])
    note(tenant, 'outbox', outbox === null ? null : outbox + OUTBOX_GRACE_MS)
    note(tenant, 'deadlines', deadlines)
    note(tenant, 'followers', followers)
    note(tenant, 'retention', retention)
    note(tenant, 'webhooks', webhooks)
    note(tenant, 'flows', flows)
    note(tenant, 'batches', batches)
    note(tenant, 'history', history)
  }

  async function read(tenants: readonly string[]): Promise<void> {
    const fail = (error: unknown, tenant: string) => deps.onFailure({ task: 'sweep', tenant, error })
    await visitAll(tenants, readOne, fail, { atOnce: AT_ONCE, endsWithStore: true })
  }

  /** Checks whether a tenant has work after all, if none is known. */
  async function findSigns(tenant: string): Promise<void> {
    const root = tenantRoot(prefix, tenant)
    if ((await redis.exists(...SIGNS.map((sign) => `${root}:${sign}`))) > 0) soon.add(tenant)
  }

  async function refreshNames(): Promise<void> {
    if (performance.now() - namesAt < NAMES_MS) return
    names = await deps.tenants()
    namesAt = performance.now()
    const known = new Set(names)
    for (const tenant of readAt.keys()) {
      if (known.has(tenant)) continue
      readAt.delete(tenant)
      for (const kind of UPKEEP_KINDS) note(tenant, kind, null)
    }
  }

  /** Looks at the next tenants in turn: as many as are due in the time since the last call. */
  async function walk(): Promise<void> {
    const time = performance.now()
    const rate = Math.min(MOST_A_SECOND / 1000, names.length / walkMs)
    const count = Math.min(names.length, Math.floor((time - walkedAt) * rate))
    if (count === 0) return
    walkedAt = time
    const some: string[] = []
    for (let index = 0; index < count; index++) {
      if (next >= names.length) {
        next = 0
        walks++
      }
      some.push(names[next++]!)
    }
    if (walks % WHOLE_WALKS === WHOLE_WALKS - 1) for (const tenant of some) soon.add(tenant)
    const fail = (error: unknown, tenant: string) => deps.onFailure({ task: 'sweep', tenant, error })
    await visitAll(some, findSigns, fail, { atOnce: AT_ONCE, endsWithStore: true })
  }

  return {
    read,
    async look() {
      await refreshNames()
      const recent = await active.list()
      await walk()
      const time = performance.now()
      const isLate = (tenant: string) =>
        time - (readAt.get(tenant) ?? Number.NEGATIVE_INFINITY) >= ACTIVE_LOOK_MS
      const wanted = new Set(names.filter((tenant) => !readAt.has(tenant)))
      for (const tenant of [...recent, ...soon]) if (isLate(tenant)) wanted.add(tenant)
      for (const tenant of wanted) soon.delete(tenant)
      await read([...wanted])
    },
    take(kind) {
      const time = now()
      const found: string[] = []
      const ofKind = due.get(kind)!
      for (const [tenant, at] of ofKind) if (at <= time) found.push(tenant)
      for (const tenant of found) {
        ofKind.delete(tenant)
        soon.add(tenant)
      }
      return found
    },
    readSoon(tenant) {
      readAt.delete(tenant)
      soon.add(tenant)
    },
  }
}
