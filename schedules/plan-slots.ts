import { MOST_CAUGHT_UP } from './schedule.ts'
import type { Timetable } from './timetable.ts'
import { type DueSchedule, ON_TIME_MS } from './work.ts'

/** The decision about a due slot: run it, or list it as missed. */
export type SlotPlan = { slot: number; isRun: boolean }

/**
 * Decides about all slots of a schedule that are due by now, in order. Several are due if no worker was running or none was fast
 * enough: `none` runs the newest one if it is on time, `latest` the newest one, `all` the newest hundred. A slot that a worker
 * began, or made a job for, always runs, under all settings. Of the missed slots the newest hundred are listed.
 */
export function planSlots(
  due: Pick<DueSchedule, 'slot' | 'made' | 'state' | 'changedAt' | 'paused' | 'catchUp'>,
  timetable: Timetable,
  now: number,
): SlotPlan[] {
  const from = Math.max(due.slot, due.changedAt)
  const later = due.paused ? [] : timetable.latest(from, now, 2 * MOST_CAUGHT_UP).reverse()
  const slots = due.state === 'settled' ? later : [due.slot, ...later]
  const newest = slots.at(-1)
  const isBegun = due.state === 'begun' || due.made !== null
  const isRun = (slot: number, index: number): boolean => {
    if (slot === due.slot && isBegun) return true
    if (due.catchUp === 'all') return index >= slots.length - MOST_CAUGHT_UP
    return slot === newest && (due.catchUp === 'latest' || now - slot <= ON_TIME_MS)
  }
  return slots.map((slot, index) => ({ slot, isRun: isRun(slot, index) }))
}
