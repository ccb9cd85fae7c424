import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Slowdown } from '../../../ratelimit/slowdown.ts'
import {
  addJitter,
  computeLived,
  computeSpeed,
  createSlowdown,
  findLived,
  slowDown,
} from '../../../ratelimit/slowdown.ts'

const anySlowdown = fc.record({
  slow: fc.double({ min: 0.1, max: 1, noNaN: true }),
  from: fc.integer({ min: 0, max: 1_000_000 }),
  cutAt: fc.constant(-1),
  heat: fc.constant(1),
  before: fc.constant(1),
  recoveryMs: fc.integer({ min: 5_000, max: 60_000 }),
})

describe('the slowdown', () => {
  it('is gone when its recovery is over', () => {
    const slowdown: Slowdown = { ...createSlowdown(), slow: 0.4, from: 1000, cutAt: 0 }
    const speeds = [0, 1000, 31_000, 61_000, 100_000].map((now) => computeSpeed(slowdown, now))
    expect(speeds).toEqual([0.4, 0.4, 0.7, 1, 1])
  })

  it('lives as long as the sum of its speeds', () => {
    fc.assert(
      fc.property(anySlowdown, fc.integer({ min: 0, max: 1_100_000 }), (slowdown, start) => {
        let sum = 0
        for (let step = 0; step < 1000; step++) sum += computeSpeed(slowdown, start + step * 100 + 50) * 100
        const lived = computeLived(slowdown, start + 100_000) - computeLived(slowdown, start)
        expect(Math.abs(lived - sum)).toBeLessThan(1)
      }),
    )
  })

  it('finds the time at which so much has been lived', () => {
    fc.assert(
      fc.property(anySlowdown, fc.double({ min: -1e6, max: 2e6, noNaN: true }), (slowdown, since) => {
        const now = slowdown.from + since
        expect(findLived(slowdown, computeLived(slowdown, now))).toBeCloseTo(now, 3)
      }),
      { examples: [[{ ...createSlowdown(), slow: 0.9999999900079949 }, 0.00483333440199862]] },
    )
  })

  it('is cut a little by a stray 429, more by a wave, and again by a later one', () => {
    const slowdown = createSlowdown()
    slowDown(slowdown, { takenAt: 100, pauseMs: 1000 }, 200)
    expect(slowdown).toMatchObject({ slow: 0.9, from: 1200, cutAt: 200, recoveryMs: 5000 })
    for (const at of [300, 310, 320]) slowDown(slowdown, { takenAt: 150, pauseMs: 5000 }, at)
    expect(slowdown).toMatchObject({ slow: 0.7, from: 5320, cutAt: 200, recoveryMs: 60_000 })
    slowDown(slowdown, { takenAt: 5320, pauseMs: 1000 }, 5400)
    expect(slowdown.slow).toBeCloseTo(0.49, 2)
  })

  it('costs less the longer ago the last 429 was, and never more than it did', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 600_000 }), { minLength: 2, maxLength: 20 }), (gaps) => {
        const shares = [1, 2].map((times) => {
          const slowdown = createSlowdown()
          let now = 0
          let speed = 1
          for (const gap of gaps) {
            now += gap * times
            speed = computeSpeed(slowdown, now)
            slowDown(slowdown, { takenAt: now, pauseMs: 0 }, now)
          }
          return { cut: slowdown.slow / speed, recoveryMs: slowdown.recoveryMs }
        })
        expect(shares[1]!.recoveryMs).toBeLessThanOrEqual(shares[0]!.recoveryMs)
        for (const { cut } of shares) expect(cut).toBeGreaterThanOrEqual(0.7 - 1e-9)
      }),
    )
  })

  it('never stops a lane altogether', () => {
    const slowdown = createSlowdown()
    for (let now = 1; now < 100; now++) slowDown(slowdown, { takenAt: now, pauseMs: 0 }, now)
    expect(slowdown.slow).toBe(0.1)
  })

  it('spreads the end of a pause by up to a tenth, and short pauses by up to 25 ms', () => {
    expect(addJitter(60_000, () => 0)).toBe(60_000)
    expect(addJitter(60_000, () => 0.5)).toBe(63_000)
    expect(addJitter(10, () => 1)).toBe(35)
  })
})
