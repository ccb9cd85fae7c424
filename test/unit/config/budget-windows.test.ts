import fc from 'fast-check'
import { expect, it } from 'vitest'
import { findWindow } from '../../../config/budget-windows.ts'

const HOUR = 3_600_000
const at = (text: string) => Date.parse(text)

it.each([
  ['day', 'UTC', '2026-11-30T07:00:00Z', '2026-11-30T00:00:00Z', 24, 24],
  ['day', 'Europe/Berlin', '2026-11-30T23:30:00Z', '2026-11-30T23:00:00Z', 24, 24],
  // Clocks go forward in the night of March 29, and back in that of October 25.
  ['day', 'Europe/Berlin', '2026-03-29T12:00:00Z', '2026-03-28T23:00:00Z', 23, 24],
  ['day', 'Europe/Berlin', '2026-10-24T12:00:00Z', '2026-10-23T22:00:00Z', 24, 25],
  ['week', 'UTC', '2026-11-29T23:59:59Z', '2026-11-23T00:00:00Z', 168, 168],
  ['week', 'UTC', '2026-11-30T00:00:00Z', '2026-11-30T00:00:00Z', 168, 168],
  ['week', 'America/New_York', '2026-10-30T12:00:00Z', '2026-10-26T04:00:00Z', 169, 168],
  ['month', 'UTC', '2026-12-31T12:00:00Z', '2026-12-01T00:00:00Z', 31 * 24, 31 * 24],
  ['month', 'Asia/Tokyo', '2026-01-31T15:00:00Z', '2026-01-31T15:00:00Z', 28 * 24, 31 * 24],
] as const)('a %s in %s at %s begins at %s', (per, zone, now, start, hours, next) => {
  const window = findWindow({ per, time_zone: zone }, at(now))
  expect(window).toEqual({
    start: at(start),
    end: at(start) + hours * HOUR,
    nextEnd: at(start) + (hours + next) * HOUR,
  })
})

it('contains each instant, and has no gaps between windows', () => {
  const zones = [
    'UTC',
    'Europe/Berlin',
    'America/Sao_Paulo',
    'Asia/Kathmandu',
    'Australia/Lord_Howe',
    'Pacific/Apia',
  ]
  fc.assert(
    fc.property(
      fc.constantFrom('day', 'week', 'month' as const),
      fc.constantFrom(...zones),
      fc.integer({ min: at('2010-01-01T00:00:00Z'), max: at('2040-01-01T00:00:00Z') }),
      (per, zone, now) => {
        const budget = { per: per as 'day', time_zone: zone }
        const { start, end, nextEnd } = findWindow(budget, now)
        expect(start <= now && now < end).toBe(true)
        expect(findWindow(budget, end)).toMatchObject({ start: end, end: nextEnd })
        expect(findWindow(budget, end - 1)).toMatchObject({ start, end })
      },
    ),
    { numRuns: 60 },
  )
})
