import { type KeyTerms, readTerms } from '../config/key-terms.ts'
import type { JsonObject } from '../lib/json.ts'
import { UnreadableError } from '../lib/sealer.ts'
import { dueTenantsKey } from './keys.ts'
import { openCreate } from './record.ts'
import type { CatchUp, Overlap, RunError, RunOutcome, Target, Timing } from './schedule.ts'
import type { ScheduleStoreDeps } from './store.ts'

/** How long a worker holds a claimed schedule, ms. If the worker dies, the schedule waits this long. */
const TURN_MS = 5000

/** A slot that no worker began within this time was missed, ms. It is longer than another worker needs to replace one that died. */
export const ON_TIME_MS = 10_000

/** A due schedule that this worker has claimed. */
export type DueSchedule = Timing & {
  tenant: string
  id: string
  token: string
  revision: number
  /** The slot that is due, Unix ms, as are all times here. */
  slot: number
  /** The job or flow that a worker created for the slot before it died without recording it; null: none is known. */
  made: string | null
  /** `settled`: the slot's outcome is written. `begun`: a worker began it in time, and died or had to wait. */
  state: 'settled' | 'begun' | 'due' | 'late'
  /** Slots before this time follow from earlier settings. */
  changedAt: number
  /** True: it was paused after the slot was due, so no further slot follows. */
  paused: boolean
  createdAt: number
  name: string | null
  target: Target
  overlap: Overlap
  catchUp: CatchUp
  /** The job or flow of the previous slot; null: there is none. */
  previous: string | null
  /** The terms of the API key that set the create object. */
  terms: KeyTerms
}

/** A slot whose outcome is decided. `made`: the id of its job or flow; null: none. */
export type SettledSlot = { slot: number; outcome: RunOutcome; made: string | null; error: RunError | null }

/**
 * `ended`: there is no next slot. `stale`: the settings were changed meanwhile; the outcomes are written, but the next slot must be
 * computed again. `lost`: another worker has the schedule, or it was paused. `none`: the schedule is gone.
 */
export type SettleOutcome = 'settled' | 'ended' | 'stale' | 'lost' | 'none'

/** What the workers do with schedules. */
export type ScheduleWork = {
  /** Lists tenants with due schedules, the longest due first. */
  dueTenants(most: number): Promise<string[]>
  /** When the next tenant is due, Unix ms; null: no tenant has schedules. */
  nextDue(): Promise<number | null>
  /** Claims due schedules. `now`: Redis' time, Unix ms. */
  claim(tenant: string, token: string, most: number): Promise<{ now: number; due: DueSchedule[] }>
  /** Reads the create object. Null: it cannot be decrypted, or the schedule is gone. */
  readCreate(due: DueSchedule): Promise<JsonObject | null>
  /** Writes the outcomes of slots, and sets the next slot. `keep`: the next slot is due too, and this worker keeps the schedule. */
  settle(
    due: Pick<DueSchedule, 'tenant' | 'id' | 'token' | 'slot' | 'revision'>,
    slots: readonly SettledSlot[],
    next: number | null,
    keep: boolean,
  ): Promise<SettleOutcome>
  /** Releases a schedule; it is due again after `ms`. */
  postpone(due: DueSchedule, ms: number): Promise<void>
  /** Sets when the tenant is due next, from its own index. Call it after you visited its schedules. */
  reschedule(tenant: string): Promise<void>
  /** Makes a tenant due again after `ms`. */
  rest(tenant: string, ms: number): Promise<void>
}

const FIELDS = [
  'revision',
  'next_at',
  'changed_at',
  'paused',
  'created_at',
  'name',
  'target',
  'cron',
  'every',
  'time_zone',
  'starts_at',
  'ends_at',
  'overlap',
  'catch_up',
  'previous',
  'models',
  'payers',
] as const

/** Creates the workers' side of schedules. `turnMs`: how long a worker holds a claimed schedule, ms. */
export function createScheduleWork(
  deps: ScheduleStoreDeps & { now: () => number; turnMs?: number },
): ScheduleWork {
  const { redis, scripts, sealer, root, prefix, now, turnMs = TURN_MS } = deps
  const tenants = dueTenantsKey(prefix)

  function toDue(tenant: string, token: string, [id, made, state, ...values]: string[]): DueSchedule {
    const record = Object.fromEntries(FIELDS.map((name, index) => [name, values[index] ?? '']))
    const number = (name: (typeof FIELDS)[number]) => (record[name] ? Number(record[name]) : null)
    return {
      tenant,
      id: id!,
      token,
      made: made || null,
      state: state as DueSchedule['state'],
      revision: number('revision') ?? 0,
      slot: number('next_at') ?? 0,
      changedAt: number('changed_at') ?? 0,
      paused: record.paused === '1',
      createdAt: number('created_at') ?? 0,
      name: record.name || null,
      target: record.target as Target,
      cron: record.cron || null,
      every: record.every || null,
      timeZone: record.time_zone || 'UTC',
      startsAt: number('starts_at'),
      endsAt: number('ends_at'),
      overlap: record.overlap as Overlap,
      catchUp: record.catch_up as CatchUp,
      previous: record.previous || null,
      terms: readTerms(record),
    }
  }

  async function firstDue(tenant: string): Promise<string | null> {
    const [, score] = await redis.zrange(`${root(tenant)}:schedules:due`, '0', '0', 'WITHSCORES')
    return score ?? null
  }

  return {
    dueTenants: (most) => redis.zrangebyscore(tenants, '-inf', now(), 'LIMIT', 0, most),

    async nextDue() {
      const [, score] = await redis.zrange(tenants, '0', '0', 'WITHSCORES')
      return score === undefined ? null : Number(score)
    },

    async claim(tenant, token, most) {
      const [time, ...found] = (await scripts('claim', root(tenant), [
        ...[token, turnMs, most, ON_TIME_MS],
        ...FIELDS,
      ])) as [string, ...string[][]]
      return { now: Number(time), due: found.map((one) => toDue(tenant, token, one)) }
    },

    async readCreate({ tenant, id }) {
      const stored = await redis.hgetBuffer(`${root(tenant)}:schedule:${id}`, 'create')
      if (stored === null) return null
      try {
        return openCreate(stored, { root: root(tenant), id }, sealer)
      } catch (error) {
        if (error instanceof UnreadableError) return null
        throw error
      }
    },

    async settle({ tenant, id, token, slot, revision }, slots, next, keep) {
      return (await scripts('settle', root(tenant), [
        ...[id, token, slot, revision, next ?? '', keep ? turnMs : ''],
        ...slots.flatMap((one) => [
          ...[one.slot, one.outcome, one.made ?? ''],
          one.error === null ? '' : JSON.stringify(one.error),
        ]),
      ])) as SettleOutcome
    },

    async postpone({ tenant, id, token }, ms) {
      await scripts('postpone', root(tenant), [id, token, Math.max(1, Math.round(ms))])
    },

    async reschedule(tenant) {
      const due = await firstDue(tenant)
      if (due === null) await redis.zrem(tenants, tenant)
      else await redis.zadd(tenants, due, tenant)
      // A process that creates a schedule writes it first and registers it here second. So of the two, the later one sees the other's write.
      const again = await firstDue(tenant)
      if (again !== null) await redis.zadd(tenants, 'LT', again, tenant)
    },

    async rest(tenant, ms) {
      await redis.zadd(tenants, now() + ms, tenant)
    },
  }
}
