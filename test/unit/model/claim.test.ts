import { describe, expect, it } from 'vitest'
import type { Amounts, Bounds } from '../../../ratelimit/limits.ts'
import { computeReserve, stakeClaim, useClaim } from '../../model/ratelimit/claim.ts'

const LARGE: Amounts = [1, 5000, 0, 0]
const SMALL: Amounts = [1, 100, 0, 0]
const RATES: Bounds = [null, 10, null, null]
const WAITS: Bounds = [null, 4000, null, null]

describe('a claim', () => {
  it('keeps half of the refill from smaller calls until it has what it needs', () => {
    const claim = stakeClaim(null, { waits: WAITS, cost: LARGE }, 0)
    expect(computeReserve(claim, { dimension: 1, cost: SMALL, rates: RATES }, 0)).toBe(0)
    expect(computeReserve(claim, { dimension: 1, cost: SMALL, rates: RATES }, 100)).toBe(500)
    expect(computeReserve(claim, { dimension: 1, cost: SMALL, rates: RATES }, 4000)).toBe(5000)
    expect(computeReserve(claim, { dimension: 0, cost: SMALL, rates: RATES }, 4000)).toBe(0)
  })

  it('is open to calls as large as the one that staked it', () => {
    const claim = stakeClaim(null, { waits: WAITS, cost: LARGE }, 0)
    expect(computeReserve(claim, { dimension: 1, cost: LARGE, rates: RATES }, 1000)).toBe(0)
    expect(useClaim(claim, SMALL)).toBe(claim)
    expect(useClaim(claim, LARGE)).toBeNull()
  })

  it('lapses when its taker does not ask again, and lasts when it does', () => {
    const claim = stakeClaim(null, { waits: WAITS, cost: LARGE }, 0)
    expect(computeReserve(claim, { dimension: 1, cost: SMALL, rates: RATES }, 5000)).toBeGreaterThan(0)
    expect(computeReserve(claim, { dimension: 1, cost: SMALL, rates: RATES }, 5001)).toBe(0)
    const again = stakeClaim(claim, { waits: WAITS, cost: LARGE }, 4000)
    expect(again).toMatchObject({ since: 0, until: 9000 })
  })

  it('belongs to the one that waits longest, not to the largest', () => {
    const claim = stakeClaim(null, { waits: WAITS, cost: LARGE }, 0)
    expect(stakeClaim(claim, { waits: WAITS, cost: [1, 9000, 0, 0] }, 1000)).toBe(claim)
    expect(stakeClaim(claim, { waits: WAITS, cost: [1, 9000, 0, 0] }, 5001)).toMatchObject({
      amount: 9000,
      since: 5001,
    })
  })

  it('is staked in the dimension that needs longest, and nowhere without a wait', () => {
    expect(stakeClaim(null, { waits: [10, 20, null, 15], cost: [1, 2, 3, 4] }, 0)).toMatchObject({
      dimension: 1,
      amount: 2,
    })
    expect(stakeClaim(null, { waits: [null, null, null, null], cost: LARGE }, 0)).toBeNull()
  })
})
