/**
 * The API's side of schedules in Redis; work.ts is the workers' side.
 *
 * All keys but the first begin with the tenant's root and share its hash tag:
 * - `<prefix>:schedules`: sorted set, tenants with schedules by when their first schedule is due. A hint: written after the schedules.
 * - `<root>:schedule:<id>`: hash, the record. Its field `create` is the job or flow to create, encrypted if encryption is configured.
 * - `<root>:schedule:<id>:runs`: stream, the outcomes of the latest slots.
 * - `<root>:schedule:<id>:jobs`: sorted set, its jobs by creation. It expires some time after the schedule is removed.
 * - `<root>:schedules`: sorted set of ids, in the order of their creation.
 * - `<root>:schedules:due`: sorted set of ids by their next slot, Unix ms.
 * - `<root>:schedules:declared`: hash, by name: the ids of schedules that the configuration declares.
 * - `<root>:schedule-key:<key>`: hash, the schedule that was created with an idempotency key.
 */
import { hash } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'
import type { Sealer } from '../lib/sealer.ts'
import { dueTenantsKey } from './keys.ts'
import { describeSettings, type RawRecord, toFields, toRun, toSchedule } from './record.ts'
import type { Schedule, ScheduleRun, ScheduleSettings } from './schedule.ts'
import type { ScheduleScripts } from './scripts.ts'

/** How long an idempotency key is remembered, ms. */
const IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000

/** A page ends once the create objects of its schedules exceed this many bytes together. */
const PAGE_BYTES = 4 * 1024 * 1024

/** The time of the next slot: Unix ms, or ms from now by Redis' clock; null: there is none. */
export type NextSlot = { at: number } | { inMs: number } | null

export type CreateScheduleOutcome =
  | { kind: 'created' | 'replayed'; schedule: Schedule }
  /** Another schedule was created with the same idempotency key. */
  | { kind: 'conflict' }
  /** The tenant has as many schedules as it may. */
  | { kind: 'full' }

export type ChangeOutcome =
  | { kind: 'changed'; schedule: Schedule }
  /** `stale`: it was changed meanwhile. `declared`: only the configuration may change it. `none`: there is no such schedule. */
  | { kind: 'stale' | 'declared' | 'none' }

/** What the API does with schedules. A schedule of another tenant is treated like one that does not exist. */
export type Schedules = {
  create(
    tenant: string,
    settings: ScheduleSettings,
    options: {
      next: NextSlot
      idempotencyKey?: string | null
      /** The most schedules that the tenant may have; null: any number. */
      most: number | null
      /** True: the configuration declares it, under its name. */
      declared?: boolean
    },
  ): Promise<CreateScheduleOutcome>
  get(tenant: string, id: string): Promise<Schedule | null>
  /** Lists schedules, newest first. `after`: the id of the previous page's last schedule. A page may be shorter than `limit` even if more follow. */
  list(
    tenant: string,
    query: { limit: number; after: string | null },
  ): Promise<{ schedules: Schedule[]; hasMore: boolean }>
  /** @param options.retime the next slot, if the change moves the slots; null: the slots stay */
  change(
    schedule: Pick<Schedule, 'tenant' | 'id' | 'revision'>,
    settings: ScheduleSettings,
    options: { retime: { next: NextSlot } | null; byConfiguration?: boolean },
  ): Promise<ChangeOutcome>
  remove(
    tenant: string,
    id: string,
    options?: { byConfiguration?: boolean },
  ): Promise<'removed' | 'declared' | 'none'>
  /** Lists runs, newest first. `after`: the number of the previous page's last run. Null: there is no such schedule. */
  runs(
    tenant: string,
    id: string,
    query: { limit: number; after: number | null },
  ): Promise<{ runs: ScheduleRun[]; hasMore: boolean } | null>
  /** Records a manual run. */
  note(tenant: string, id: string, run: { scheduledFor: number; made: string }): Promise<void>
  /** The ids of the schedules that the configuration declares, by name. */
  declared(tenant: string): Promise<Map<string, string>>
}

export type ScheduleStoreDeps = {
  redis: RedisClient
  scripts: ScheduleScripts
  sealer: Sealer
  prefix: string
  /** Returns the root of a tenant's keys, including its hash tag. */
  root: (tenant: string) => string
}

/** Creates the API's side of schedules. `retainMs`: how long the list of a removed schedule's jobs is kept, ms. */
export function createSchedules(
  deps: ScheduleStoreDeps & {
    /** Generates ids `sch_…` that sort by their time of creation. */
    newId: () => string
    retainMs: () => number
  },
): Schedules {
  const { redis, scripts, sealer, root, prefix } = deps

  async function get(tenant: string, id: string): Promise<Schedule | null> {
    const record = (await redis.hgetallBuffer(`${root(tenant)}:schedule:${id}`)) as RawRecord
    return toSchedule(tenant, id, record, { root: root(tenant) }, sealer)
  }

  /** Writes to the workers' index when the tenant is due. Call it after the write that it reports. */
  async function announce({ tenant, nextAt }: Schedule): Promise<void> {
    if (nextAt !== null) await redis.zadd(dueTenantsKey(prefix), 'LT', nextAt, tenant)
  }

  return {
    get,

    async create(tenant, settings, { next, idempotencyKey = null, most, declared = false }) {
      const id = deps.newId()
      const fingerprint = sealer.digests(hash('sha256', describeSettings(settings))).join(' ')
      const [kind, made] = (await scripts('create', root(tenant), [
        ...[id, idempotencyKey ?? '', idempotencyKey === null ? '' : fingerprint, IDEMPOTENCY_TTL_MS],
        ...[most ?? '', formatNext(next), declared ? (settings.name ?? '') : ''],
        ...toFields(settings, { root: root(tenant), id }, sealer),
      ])) as [string, string?]
      if (kind === 'conflict' || kind === 'full') return { kind }
      const schedule = await get(tenant, made!)
      if (schedule === null) throw new Error('a schedule that was just created is gone')
      await announce(schedule)
      return { kind: kind === 'replayed' ? 'replayed' : 'created', schedule }
    },

    async list(tenant, { limit, after }) {
      const index = `${root(tenant)}:schedules`
      const ids = await redis.zrevrangebylex(
        index,
        after === null ? '+' : `(${after}`,
        '-',
        'LIMIT',
        0,
        limit + 1,
      )
      const schedules: Schedule[] = []
      let bytes = 0
      for (const id of ids) {
        if (schedules.length === limit || bytes > PAGE_BYTES) return { schedules, hasMore: true }
        const record = (await redis.hgetallBuffer(`${root(tenant)}:schedule:${id}`)) as RawRecord
        const schedule = toSchedule(tenant, id, record, { root: root(tenant) }, sealer)
        if (schedule === null) continue
        bytes += record.create?.length ?? 0
        schedules.push(schedule)
      }
      return { schedules, hasMore: false }
    },

    async change({ tenant, id, revision }, settings, { retime, byConfiguration = false }) {
      const kind = (await scripts('change', root(tenant), [
        ...[id, revision, byConfiguration ? '1' : '', retime === null ? '' : '1'],
        retime === null ? '' : formatNext(retime.next),
        ...toFields(settings, { root: root(tenant), id }, sealer),
      ])) as 'changed' | 'stale' | 'declared' | 'none'
      if (kind !== 'changed') return { kind }
      const schedule = await get(tenant, id)
      if (schedule === null) return { kind: 'none' }
      await announce(schedule)
      return { kind, schedule }
    },

    async remove(tenant, id, { byConfiguration = false } = {}) {
      return (await scripts('remove', root(tenant), [id, byConfiguration ? '1' : '', deps.retainMs()])) as
        | 'removed'
        | 'declared'
        | 'none'
    },

    async runs(tenant, id, { limit, after }) {
      const key = `${root(tenant)}:schedule:${id}`
      const [exists, entries] = await Promise.all([
        redis.exists(key),
        redis.xrevrange(`${key}:runs`, after === null ? '+' : `(${after}-0`, '-', 'COUNT', limit + 1),
      ])
      if (exists === 0) return null
      const runs = entries.slice(0, limit).map(([, fields]) => toRun(fields[1]!))
      return { runs, hasMore: entries.length > limit }
    },

    async note(tenant, id, { scheduledFor, made }) {
      await scripts('note', root(tenant), [id, scheduledFor, made])
    },

    async declared(tenant) {
      return new Map(Object.entries(await redis.hgetall(`${root(tenant)}:schedules:declared`)))
    },
  }
}

function formatNext(next: NextSlot): string {
  if (next === null) return ''
  return 'at' in next ? String(next.at) : `+${next.inMs}`
}
