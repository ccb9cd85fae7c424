import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planSlots } from '../../../schedules/plan-slots.ts'
import type { CatchUp } from '../../../schedules/schedule.ts'
import { createTimetable, listNext } from '../../../schedules/timetable.ts'

const HOUR = 3_600_000
const timing = { cron: null, every: null, timeZone: 'UTC', startsAt: null, endsAt: null }
const span = (low: number, high: number) => fc.integer({ min: low, max: high })

describe('an interval', () => {
  it('has the slots that adding up from its beginning has, between any two times', () => {
    fc.assert(
      fc.property(
        span(1, 100),
        fc.option(span(-5000, 5000)),
        fc.option(span(-5000, 5000)),
        span(-5000, 5000),
        span(0, 10_000),
        (seconds, startsAt, endsAt, from, length) => {
          const ms = (value: number | null) => (value === null ? null : value * 1000)
          const table = createTimetable(
            { ...timing, every: `${seconds}s`, startsAt: ms(startsAt), endsAt: ms(endsAt) },
            0,
          )
          const expected: number[] = []
          for (let slot = startsAt ?? seconds; slot <= from + length; slot += seconds)
            if (slot > from && slot <= (endsAt ?? slot)) expected.push(slot * 1000)
          const to = (from + length) * 1000
          const found = listNext(table, from * 1000, 20_000).filter((slot) => slot <= to)
          expect(found).toEqual(expected)
          expect(table.latest(from * 1000, to, 20_000).reverse()).toEqual(expected)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('does not drift in ten years', () => {
    const table = createTimetable({ ...timing, every: '7.5m' }, 0)
    const far = 10 * 365 * 24 * HOUR
    expect(table.next(far)! % 450_000).toBe(0)
  })
})

it('a beginning and an end hold for expressions too, both of them slots', () => {
  const at = (text: string) => Date.parse(text)
  const table = createTimetable(
    {
      ...timing,
      cron: '0 * * * *',
      startsAt: at('2027-01-01T10:00:00Z'),
      endsAt: at('2027-01-01T12:00:00Z'),
    },
    0,
  )
  const slots = [10, 11, 12].map((hour) => at(`2027-01-01T${hour}:00:00Z`))
  expect(listNext(table, 0, 9)).toEqual(slots)
  expect(table.latest(0, at('2028-01-01T00:00:00Z'), 9).reverse()).toEqual(slots)
})

describe('the slots that are due', () => {
  const plan = (
    catchUp: CatchUp,
    state: 'settled' | 'begun' | 'due' | 'late',
    count: number,
    lateMs: number,
  ) => {
    const table = createTimetable({ ...timing, every: '1h' }, 0)
    const due = { slot: HOUR, made: null, state, changedAt: 0, paused: false, catchUp }
    return planSlots(due, table, count * HOUR + lateMs).map(
      ({ slot, isRun }) => `${slot / HOUR}${isRun ? '' : ' missed'}`,
    )
  }

  it('on time is run, under every setting of catch_up', () => {
    for (const catchUp of ['none', 'latest', 'all'] as const)
      expect(plan(catchUp, 'due', 1, 5000)).toEqual(['1'])
  })

  it('was begun is run besides', () => {
    expect(plan('none', 'begun', 3, 60_000)).toEqual(['1', '2 missed', '3 missed'])
    expect(plan('latest', 'begun', 3, 60_000)).toEqual(['1', '2 missed', '3'])
    expect(plan('all', 'begun', 103, 0)[0]).toBe('1')
  })

  it('was decided is passed over', () => {
    expect(plan('all', 'settled', 3, 0)).toEqual(['2', '3'])
    expect(plan('all', 'settled', 1, 0)).toEqual([])
  })

  it('is the newest alone, or all of a hundred', () => {
    expect(plan('none', 'late', 3, 60_000)).toEqual(['1 missed', '2 missed', '3 missed'])
    expect(plan('none', 'late', 3, 1000)).toEqual(['1 missed', '2 missed', '3'])
    expect(plan('latest', 'late', 3, 60_000)).toEqual(['1 missed', '2 missed', '3'])
    const all = plan('all', 'late', 150, 60_000)
    expect(all.slice(0, 50).every((slot) => slot.endsWith('missed'))).toBe(true)
    expect(all.slice(50)).toEqual(Array.from({ length: 100 }, (_, index) => String(index + 51)))
  })

  it('before the settings changed is none of theirs', () => {
    const table = createTimetable({ ...timing, every: '1h' }, 0)
    const due = {
      slot: HOUR,
      made: null,
      state: 'late' as const,
      changedAt: 3 * HOUR,
      paused: false,
      catchUp: 'all' as const,
    }
    expect(planSlots(due, table, 5 * HOUR).map(({ slot }) => slot / HOUR)).toEqual([1, 4, 5])
    // Paused: slots behind the one that was due then must not run.
    const paused = { ...due, paused: true }
    expect(planSlots(paused, table, 5 * HOUR).map(({ slot }) => slot / HOUR)).toEqual([1])
  })
})
