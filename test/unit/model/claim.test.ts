import { describe, expect, it } from 'vitest'
import type { Amounts, Bounds } from '../../../ratelimit/limits.ts'
import { computeReserve, stakeClaim, useClaim } from '../../model/ratelimit/claim.ts'

const LARGE: Amounts = [1, 5000, 0, 0]
const SMALL: Amounts = [1, 100, 0, 0]
const RATES: Bounds = [null, 10, null, null]
const WAITS: Bounds = [null, 4000, null, null]

describe('a claim', () => {
  it('keeps half of the refill from smaller calls until it has what it needs', () => {
    const claim = stakeClaim(null, WAITS, LARGE, 0)
    expect(computeReserve(claim, 1, SMALL, RATES, 0)).toBe(0)
    expect(computeReserve(claim, 1, SMALL, RATES, 100)).toBe(500)
    expect(computeReserve(claim, 1, SMALL, RATES, 4000)).toBe(5000)
    expect(computeReserve(claim, 0, SMALL, RATES, 4000)).toBe(0)
  })

  it('is open to calls as large as the one that staked it', () => {
    const claim = stakeClaim(null, WAITS, LARGE, 0)
    expect(computeReserve(claim, 1, LARGE, RATES, 1000)).toBe(0)
    expect(useClaim(claim, SMALL)).toBe(claim)
    expect(useClaim(claim, LARGE)).toBeNull()
  })

  it('lapses when its taker does not ask again, and lasts when it does', () => {
    const claim = stakeClaim(null, WAITS, LARGE, 0)
    expect(computeReserve(claim, 1, SMALL, RATES, 5000)).toBeGreaterThan(0)
    expect(computeReserve(claim, 1, SMALL, RATES, 5001)).toBe(0)
    const again = stakeClaim(claim, WAITS, LARGE, 4000)
    expect(again).toMatchObject({ since: 0, until: 9000 })
  })

  it('belongs to the one that waits longest, not to the largest', () => {
    const claim = stakeClaim(null, WAITS, LARGE, 0)
    expect(stakeClaim(claim, WAITS, [1, 9000, 0, 0], 1000)).toBe(claim)
    expect(stakeClaim(claim, WAITS, [1, 9000, 0, 0], 5001)).toMatchObject({ amount: 9000, since: 5001 })
  })

  it('is staked in the dimension that needs longest, and nowhere without a wait', () => {
    expect(stakeClaim(null, [10, 20, null, 15], [1, 2, 3, 4], 0)).toMatchObject({ dimension: 1, amount: 2 })
    expect(stakeClaim(null, [null, null, null, null], LARGE, 0)).toBeNull()
  })
})
