import { describe, expect, it } from 'vitest'
import type { Amounts, Bounds } from '../../../ratelimit/limits.ts'
import {
  addToLedger,
  computeLedgerWaits,
  correctLedger,
  createLedger,
  rollLedger,
} from '../../model/ratelimit/ledger.ts'

const WINDOW = 60_000
const ONE: Amounts = [1, 100, 75, 25]
const CAPACITIES: Bounds = [3, 1000, null, null]

describe('the ledger', () => {
  it('counts what was taken until its slice is out of the window by more than the jitter', () => {
    const ledger = createLedger(WINDOW, 0)
    addToLedger(ledger, ONE) // Slice 0 ends at 100 ms.
    rollLedger(ledger, { window: WINDOW }, 60_149)
    expect(ledger.sum).toEqual(ONE)
    rollLedger(ledger, { window: WINDOW }, 60_150)
    expect(ledger.sum).toEqual([0, 0, 0, 0])
    expect(ledger.closed.size).toBe(0)
  })

  it('keeps a slice for each tenth of a second in which something was taken, and no more', () => {
    const ledger = createLedger(WINDOW, 0)
    for (let now = 0; now < 600_000; now += 37) {
      rollLedger(ledger, { window: WINDOW }, now)
      addToLedger(ledger, ONE)
    }
    expect(ledger.closed.size).toBeLessThanOrEqual(602)
    const inSlices = [...ledger.closed.values(), ledger.amounts].reduce(
      (sum, [requests]) => sum + requests,
      0,
    )
    expect(ledger.sum[0]).toBe(inSlices)
  })

  it('allows less for jitter where the window is short', () => {
    const ledger = createLedger(200, 0)
    addToLedger(ledger, ONE)
    expect(computeLedgerWaits(ledger, { capacities: [1, null, null, null], cost: ONE }, 0)[0]).toBeCloseTo(
      200 / 600 + 200 + 10,
      9,
    )
  })

  it('gives no wait where there is room, where there is no limit, and where nothing is asked', () => {
    const ledger = createLedger(WINDOW, 0)
    addToLedger(ledger, [3, 500, 10_000, 10_000])
    expect(computeLedgerWaits(ledger, { capacities: CAPACITIES, cost: [0, 500, 1, 1] }, 0)).toEqual([
      null,
      null,
      null,
      null,
    ])
  })

  it('gives for each dimension how long it takes until the slices that are in the way are gone', () => {
    const ledger = createLedger(WINDOW, 0)
    for (const now of [0, 1000, 2000]) {
      rollLedger(ledger, { window: WINDOW }, now)
      addToLedger(ledger, [1, 300, 0, 0])
    }
    expect(computeLedgerWaits(ledger, { capacities: CAPACITIES, cost: [1, 500, 0, 0] }, 2000)).toEqual([
      58_150, // The first of three requests.
      59_150, // The first two, of 300 tokens each.
      null,
      null,
    ])
  })

  it('gives back no more than its slice holds', () => {
    const ledger = createLedger(WINDOW, 0)
    addToLedger(ledger, ONE)
    correctLedger(ledger, 50, [1, 500, 0, 0])
    expect(ledger.sum).toEqual([0, 0, 75, 25])
  })

  it('charges a slice in which nothing was left', () => {
    const ledger = createLedger(WINDOW, 0)
    rollLedger(ledger, { window: WINDOW }, 5000)
    correctLedger(ledger, 4000, [0, -70, 0, 0])
    expect(ledger.sum).toEqual([0, 70, 0, 0])
  })
})
