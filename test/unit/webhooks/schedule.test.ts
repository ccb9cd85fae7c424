import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
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
