import { parseDuration } from '../config/units.ts'
import { parseCron } from '../lib/cron.ts'
import { LAST_TIME } from '../lib/shown-time.ts'
import type { Timing } from './schedule.ts'

/** The slots of a schedule, Unix ms. */
export type Timetable = {
  /** The first slot after this time; null: there is none until the end of the year 9999. */
  next(after: number): number | null
  /** The latest slots after `after` and up to `until`, at most `most`, newest first. */
  latest(after: number, until: number, most: number): number[]
}

/**
 * @param createdAt when the schedule was created, Unix ms; intervals without `startsAt` count from it
 * @throws CronError for an expression that cannot be read
 */
export function createTimetable(timing: Timing, createdAt: number): Timetable {
  const { startsAt, endsAt } = timing
  const slots =
    timing.cron === null
      ? createInterval(parseDuration(timing.every ?? '') ?? Number.NaN, startsAt, createdAt)
      : parseCron(timing.cron, timing.timeZone)
  const begin = (after: number) => Math.max(after, (startsAt ?? Number.NEGATIVE_INFINITY) - 1)

  return {
    next(after) {
      const slot = slots.next(begin(after))
      return slot === null || slot > (endsAt ?? LAST_TIME) ? null : slot
    },
    latest: (after, until, most) => slots.latest(begin(after), Math.min(until, endsAt ?? LAST_TIME), most),
  }
}

/** The next slots, in order. */
export function listNext(timetable: Timetable, after: number, most: number): number[] {
  const slots: number[] = []
  for (let slot = timetable.next(after); slot !== null && slots.length < most; slot = timetable.next(slot))
    slots.push(slot)
  return slots
}

/** Slots every `every` ms. `startsAt` is a slot itself, `createdAt` is not. Slots are multiplied, never added up, so they do not drift. */
function createInterval(every: number, startsAt: number | null, createdAt: number): Timetable {
  const origin = startsAt ?? createdAt
  const first = startsAt === null ? 1 : 0
  const slotOf = (index: number) => origin + index * every
  return {
    next: (after) => slotOf(Math.max(first, Math.floor((after - origin) / every) + 1)),
    latest(after, until, most) {
      const found: number[] = []
      for (let index = Math.floor((until - origin) / every); index >= first && found.length < most; index--) {
        if (slotOf(index) <= after) break
        found.push(slotOf(index))
      }
      return found
    },
  }
}
