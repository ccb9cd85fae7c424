/**
 * Schedules in Redis, the API's side; work.ts is the workers'.
 *
 * All but the first lies under the tenant's root, whose hash tag it shares:
 * - `<prefix>:schedules`: sorted set, tenants with schedules by when the first of those is due. A hint: written after the schedules themselves.
 * - `<root>:schedule:<id>`: hash, the record. `create` in it is the job or flow to make, encrypted where that is configured.
 * - `<root>:schedule:<id>:runs`: stream, the outcomes of the latest slots.
 * - `<root>:schedule:<id>:jobs`: sorted set, its jobs by their creation. Goes some time after the schedule.
 * - `<root>:schedules`: sorted set of ids, whose order is that of their making.
 * - `<root>:schedules:due`: sorted set of ids by their next slot, Unix ms.
 * - `<root>:schedules:declared`: hash, by name: ids of those that stand in the configuration.
 * - `<root>:schedule-key:<key>`: hash, the schedule that an idempotency key made.
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

/** A page of schedules ends behind the one with which their create objects come to so many bytes. */
const PAGE_BYTES = 4 * 1024 * 1024

/** When the next slot is: Unix ms, or ms from now by Redis' clock; null: there is none. */
export type NextSlot = { at: number } | { inMs: number } | null

export type CreateScheduleOutcome =
  | { kind: 'created' | 'replayed'; schedule: Schedule }
  /** Same idempotency key, another schedule. */
  | { kind: 'conflict' }
  /** The tenant has as many as it may. */
  | { kind: 'full' }

export type ChangeOutcome =
  | { kind: 'changed'; schedule: Schedule }
  /** It was changed meanwhile; it stands in the configuration; there is none. */
  | { kind: 'stale' | 'declared' | 'none' }

/** What the API does with schedules. A schedule of another tenant is null, as is one that does not exist. */
export type Schedules = {
  create(
    tenant: string,
    settings: ScheduleSettings,
    options: {
      next: NextSlot
      idempotencyKey?: string | null
      /** Schedules that the tenant may have; null: any number. */
      most: number | null
      /** True: it stands in the configuration, under its name. */
      declared?: boolean
    },
  ): Promise<CreateScheduleOutcome>
  get(tenant: string, id: string): Promise<Schedule | null>
  /** Newest first; `after`: the id of the last of the page before. A page may be shorter than asked for though there is more. */
  list(
    tenant: string,
    query: { limit: number; after: string | null },
  ): Promise<{ schedules: Schedule[]; hasMore: boolean }>
  /** @param retime its slots are others now, and this is the next one; null: they stay as they are */
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
  /** Newest first; `after`: the number of the last of the page before. Null: there is no such schedule. */
  runs(
    tenant: string,
    id: string,
    query: { limit: number; after: number | null },
  ): Promise<{ runs: ScheduleRun[]; hasMore: boolean } | null>
  /** Notes what was run beside the slots. */
  note(tenant: string, id: string, run: { scheduledFor: number; made: string }): Promise<void>
  /** Ids of those that stand in the configuration, by name. */
  declared(tenant: string): Promise<Map<string, string>>
}

export type ScheduleStoreDeps = {
  redis: RedisClient
  scripts: ScheduleScripts
  sealer: Sealer
  prefix: string
  /** Names a tenant's root key, hash tag included. */
  root: (tenant: string) => string
}

export function createSchedules(
  deps: ScheduleStoreDeps & {
    /** Makes ids `sch_…` whose order is that of their making. */
    newId: () => string
    retainMs: () => number
  },
): Schedules {
  const { redis, scripts, sealer, root, prefix } = deps

  async function get(tenant: string, id: string): Promise<Schedule | null> {
    const record = (await redis.hgetallBuffer(`${root(tenant)}:schedule:${id}`)) as RawRecord
    return toSchedule(tenant, id, record, { root: root(tenant) }, sealer)
  }

  /** Tells the workers' index when the tenant is due; call it after the write that it reports. */
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
      if (schedule === null) throw new Error('a schedule that was just made is gone')
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
