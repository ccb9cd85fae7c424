import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { slotKey } from './keys.ts'
import type { Launchers } from './launch.ts'
import { planSlots, type SlotPlan } from './plan-slots.ts'
import { RunOutcome } from './schedule.ts'
import { createTimetable } from './timetable.ts'
import type { DueSchedule, ScheduleWork, SettledSlot } from './work.ts'

/** The length of one turn, ms. A turn also waits for schedules that become due during it. */
const LOOK_MS = 1000
/** Tenants visited in parallel, schedules of each that are claimed at once, and those that run in parallel. */
const TENANTS_AT_ONCE = 8
const SCHEDULES_AT_ONCE = 250
const RUNS_AT_ONCE = 125
/** How long after its slot a job with a temporary refusal is tried again, and the shortest pause between two tries, ms. */
const PATIENCE_MS = 10_000
const LEAST_PAUSE_MS = 100
/** A tenant that is not configured is checked again after this time, ms. Its slots wait; `catch_up` decides about them later. */
const REST_MS = 60_000

/** The outcome of a slot, for metrics and the log. */
export type SlotEvent = SettledSlot & {
  tenant: string
  schedule: string
  name: string | null
  target: DueSchedule['target']
  /** The time from the slot to its job, ms. */
  lateMs: number
}

export type ScheduleRunnerDeps = {
  work: ScheduleWork
  launchers: Launchers
  /** Whether the configuration has the tenant. */
  isTenant: (name: string) => boolean
  /** Unix ms, by Redis' clock. Only a hint: the scripts decide what is due. */
  now: () => number
  onSlot: (event: SlotEvent) => void
  onFailure: OnUpkeepFailure
}

/** Creates the maintainer's task that runs due schedules, one second per turn. Each step may run twice, also by two workers. */
export function createScheduleTask(deps: ScheduleRunnerDeps): PeriodicTask {
  const { work, now } = deps

  async function look(tenant: string): Promise<void> {
    if (!deps.isTenant(tenant)) return work.rest(tenant, REST_MS)
    const { due, now: at } = await work.claim(tenant, randomUUID(), SCHEDULES_AT_ONCE)
    await visitAll(
      due,
      (one) => runDue(deps, one, at),
      (error, { id }) => deps.onFailure({ task: 'schedules', tenant, id, error }),
      { atOnce: RUNS_AT_ONCE, endsWithStore: true },
    )
    await work.reschedule(tenant)
  }

  async function runAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const tenants = await work.dueTenants(1000)
      if (tenants.length === 0) return
      let isBroken = false
      await visitAll(
        tenants,
        (tenant) => (signal.aborted ? Promise.resolve() : look(tenant)),
        (error, tenant) => {
          isBroken = true
          deps.onFailure({ task: 'schedules', tenant, error })
        },
        { atOnce: TENANTS_AT_ONCE, endsWithStore: true },
      )
      // Schedules that could not be visited wait for the next turn.
      if (isBroken) return
    }
  }

  return {
    name: 'schedules',
    everyMs: LOOK_MS,
    async run(signal) {
      const end = performance.now() + LOOK_MS
      for (;;) {
        const next = await work.nextDue()
        const waitMs = next === null ? Number.POSITIVE_INFINITY : next - now()
        if (waitMs > 0) {
          if (signal.aborted || performance.now() + waitMs >= end) return
          await sleep(waitMs, undefined, { signal }).catch(() => {})
        }
        if (signal.aborted) return
        await runAll(signal)
        if (performance.now() >= end) return
      }
    },
  }
}

/** Runs or settles all due slots of one schedule, in order. */
async function runDue(deps: ScheduleRunnerDeps, first: DueSchedule, now: number): Promise<void> {
  const { work } = deps
  let due = first
  const timetable = createTimetable(due, due.createdAt)
  const next = timetable.next(Math.max(now, due.slot))
  const plans = planSlots(due, timetable, now)
  const missed = takeMissed(plans)
  do {
    const settled = missed.splice(0)
    const plan = plans.shift()
    if (plan !== undefined) {
      const made = plan.slot === first.slot ? first.made : null
      const mayWait = plans.length === 0 && deps.now() - plan.slot < PATIENCE_MS && !isPast(next, deps.now())
      const one = await runSlot(deps, due, plan.slot, { made, mayWait })
      if (one === null) return
      settled.push(one, ...takeMissed(plans))
      if (one.outcome === RunOutcome.created) due = { ...due, previous: one.made }
    }
    const upcoming = plans[0]?.slot ?? next
    const outcome = await work.settle(due, settled, upcoming, plans.length > 0)
    for (const one of settled) report(deps, due, one)
    if (outcome === 'stale') return work.postpone(due, 1)
    if (outcome !== 'settled') return
    due = { ...due, slot: upcoming! }
  } while (plans.length > 0)
}

/** Decides about one slot and runs it. Null: no decision yet; the schedule is postponed. */
async function runSlot(
  { work, launchers }: ScheduleRunnerDeps,
  due: DueSchedule,
  slot: number,
  { made, mayWait }: { made: string | null; mayWait: boolean },
): Promise<SettledSlot | null> {
  const { tenant, id, target, overlap, previous } = due
  const launcher = launchers[target]
  if (made !== null) return { slot, outcome: RunOutcome.created, made, error: null }
  if (overlap !== 'allow' && previous !== null && (await launcher.isOpen(tenant, previous))) {
    if (overlap === 'skip') return { slot, outcome: RunOutcome.skipped, made: null, error: null }
    await launcher.cancel(tenant, previous)
  }
  const create = await work.readCreate(due)
  if (create === null) return { slot, outcome: RunOutcome.refused, made: null, error: unreadable }
  const launched = await launcher.launch(create, {
    tenant,
    schedule: id,
    scheduledFor: slot,
    idempotencyKey: slotKey(id, slot),
    terms: due.terms,
  })
  if (launched.kind === 'created')
    return { slot, outcome: RunOutcome.created, made: launched.id, error: null }
  if (launched.retryAfterMs !== null && mayWait) {
    await work.postpone(due, Math.min(PATIENCE_MS, Math.max(LEAST_PAUSE_MS, launched.retryAfterMs)))
    return null
  }
  return { slot, outcome: RunOutcome.refused, made: null, error: launched.error }
}

const unreadable = {
  code: 'undecryptable',
  message: 'The schedule cannot be decrypted: its encryption key is not configured.',
}

function isPast(time: number | null, now: number): boolean {
  return time !== null && time <= now
}

function report(deps: ScheduleRunnerDeps, due: DueSchedule, settled: SettledSlot): void {
  const { tenant, id: schedule, name, target } = due
  deps.onSlot({ ...settled, tenant, schedule, name, target, lateMs: Math.max(0, deps.now() - settled.slot) })
}

/** Removes the plans before the next slot to run from the list, and returns them as missed. */
function takeMissed(plans: SlotPlan[]): SettledSlot[] {
  const index = plans.findIndex(({ isRun }) => isRun)
  return plans
    .splice(0, index < 0 ? plans.length : index)
    .map(({ slot }) => ({ slot, outcome: RunOutcome.missed, made: null, error: null }))
}
