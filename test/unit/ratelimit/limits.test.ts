import { describe, expect, it } from 'vitest'
import { computeLimits } from '../../../ratelimit/limits.ts'

const NOTHING = { requests: null, tokens: null }

describe('effective limits', () => {
  it('leave the headroom out of the rate and in the capacity', () => {
    const limits = computeLimits(
      { requests_per_minute: 600, tokens_per_minute: 60_000, window: 30_000, headroom: 0.9 },
      NOTHING,
    )
    expect(limits.rates[0]! * 60_000).toBeCloseTo(540, 9)
    expect(limits.rates[1]! * 60_000).toBeCloseTo(54_000, 9)
    expect(limits.capacities).toEqual([300, 30_000, null, null])
  })

  it('have no rate without a limit, or with a limit by the day', () => {
    const limits = computeLimits({ requests_per_day: 1000, window: 60_000, headroom: 1 }, NOTHING)
    expect(limits.rates).toEqual([null, null, null, null])
    expect(limits.dailyCapacities).toEqual([1000, null, null, null])
  })

  it('let one request through in a window too short for one', () => {
    const limits = computeLimits({ requests_per_minute: 30, window: 1000, headroom: 1 }, NOTHING)
    expect(limits.capacities[0]).toBe(1)
  })

  it('use what was learned only if it is lower than what is configured', () => {
    const learned = { requests: { limit: 60, at: 0 }, tokens: { limit: 60, at: 0 } }
    const limits = computeLimits({ requests_per_minute: 120, window: 60_000, headroom: 1 }, learned)
    expect(limits.capacities).toEqual([60, null, null, null])
    const lower = computeLimits({ requests_per_minute: 30, window: 60_000, headroom: 1 }, learned)
    expect(lower.capacities[0]).toBe(30)
  })
})
