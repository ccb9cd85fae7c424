import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyRetryAfter, readRetryAfter } from '../../../webhooks/retry-after.ts'
import { nextDeliveryDelay } from '../../../webhooks/schedule.ts'

describe('nextDeliveryDelay', () => {
  it('takes the entry after the attempts made', () => {
    expect([0, 1, 2, 3].map((made) => nextDeliveryDelay([0, 5000, 300_000], made, () => 0.5))).toEqual([
      0,
      5000,
      300_000,
      null,
    ])
  })

  it('stays within ten percent of the entry', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 36_000_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (entry, chance) => {
          const delay = nextDeliveryDelay([entry], 0, () => chance)
          expect(delay).toBeGreaterThanOrEqual(Math.floor(entry * 0.9))
          expect(delay).toBeLessThanOrEqual(Math.ceil(entry * 1.1))
        },
      ),
    )
  })

  it('reaches both ends of the jitter', () => {
    expect(nextDeliveryDelay([1000], 0, () => 0)).toBe(900)
    expect(nextDeliveryDelay([1000], 0, () => 1)).toBe(1100)
  })

  it('is exhausted at once when the schedule is empty', () => {
    expect(nextDeliveryDelay([], 0, () => 0)).toBeNull()
  })
})

describe('readRetryAfter', () => {
  const now = Date.parse('2026-11-29T12:00:00Z')

  it.each([
    ['120', 120_000],
    [' 1.5 ', 1500],
    ['0', 0],
    ['Sun, 29 Nov 2026 12:02:00 GMT', 120_000],
    ['Sun, 29 Nov 2026 11:00:00 GMT', 0],
    ['2026-11-29T12:02:00Z', null],
    ['soon', null],
    ['-5', null],
    ['', null],
    ['Someday GMT', null],
  ])('reads %j', (value, expected) => {
    expect(readRetryAfter(value, now)).toBe(expected)
  })

  it('takes the first of several, and none from none', () => {
    expect(readRetryAfter(['3', '9'], now)).toBe(3000)
    expect(readRetryAfter(undefined, now)).toBeNull()
    expect(readRetryAfter('9'.repeat(400), now)).toBeNull()
  })
})

describe('applyRetryAfter', () => {
  it('is never sooner than asked, nor than the schedule, and bounded', () => {
    fc.assert(
      fc.property(
        fc.nat(36_000_000),
        fc.option(fc.nat(100 * 36_000_000)),
        fc.array(fc.nat(36_000_000), { minLength: 1, maxLength: 8 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (delay, asked, schedule, chance) => {
          const wait = applyRetryAfter(delay, asked, schedule, () => chance)
          const bound = Math.max(3_600_000, ...schedule)
          expect(wait).toBeGreaterThanOrEqual(delay)
          if (asked === null) expect(wait).toBe(delay)
          else expect(wait).toBeGreaterThanOrEqual(Math.min(asked, bound))
          expect(wait).toBeLessThanOrEqual(Math.max(delay, Math.round(bound * 1.1)))
        },
      ),
    )
  })
})
