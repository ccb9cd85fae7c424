import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BAND_SECONDS,
  type Band,
  type FairState,
  type Tagged,
  tagEntries,
} from '../../../ratelimit/fairness.ts'
import { positionOfNewcomer, secondsAhead } from '../../../ratelimit/forecaster.ts'
import { createSimulatedLane } from '../../contract/fairness-lane.ts'
import { seed } from '../../helpers/seed.ts'

/** Entries whose tags fall into one step of the priority are served in the order they came, s. */
const STEP = 0.5

const weights: Record<string, number> = { a: 1, b: 2, c: 4, d: 0.5 }
const weightOf = (tenant: string) => weights[tenant]!
const anyTenant = fc.constantFrom(...Object.keys(weights))
const anyBand = fc.constantFrom(...(Object.keys(BAND_SECONDS) as Band[]))

/** Entries of random tenants and bands; `anySize` in seconds over weight. */
const anyBacklog = (anySize: fc.Arbitrary<number>, maxLength = 60): fc.Arbitrary<Tagged[]> =>
  fc.array(
    fc.tuple(anyTenant, anyBand, anySize).map(([tenant, band, size]) => ({
      tenant,
      band,
      seconds: size * weightOf(tenant),
      weight: weightOf(tenant),
    })),
    { minLength: 1, maxLength },
  )

/** The sum of the largest entries of each tenant and band, except one's own. */
function largestOfOthers(entries: readonly Tagged[], own: Tagged): number {
  const largest = new Map<string, number>()
  for (const { tenant, band, seconds } of entries) {
    if (tenant === own.tenant && band === own.band) continue
    const flow = `${band}:${tenant}`
    largest.set(flow, Math.max(largest.get(flow) ?? 0, seconds))
  }
  return [...largest.values()].reduce((sum, one) => sum + one, 0)
}

/** Serves a backlog entry by entry in the exact order of the tags; answers the service before each. */
function serveAll(
  entries: (Tagged & { start: number })[],
): { entry: Tagged & { start: number }; before: number }[] {
  const turn = ({ start, band }: { start: number; band: Band }) => start + BAND_SECONDS[band]
  const order = entries.toSorted((a, b) => turn(a) - turn(b))
  let given = 0
  let before = 0
  let last = Number.NEGATIVE_INFINITY
  return order.map((entry) => {
    // Entries with the same tag go in any order: none is ahead of another.
    if (turn(entry) > last) before = given
    last = turn(entry)
    given += entry.seconds
    return { entry, before }
  })
}

function tagged(entries: Tagged[]) {
  const state: FairState = { v: 0, ends: new Map() }
  const starts = tagEntries(state, entries)
  return { state, waiting: entries.map((entry, index) => ({ ...entry, start: starts[index]! })) }
}

describe('the seconds of service ahead of an entry', () => {
  it('are what the lane gives before it, exactly, where tags are equal', () => {
    const backlog = fc
      .constantFrom(1, 2.5, 10, 60, 600)
      .chain((quantum) => anyBacklog(fc.constant(quantum), 200))
    fc.assert(
      fc.property(backlog, (entries) => {
        const { state, waiting } = tagged(entries)
        for (const { entry, before } of serveAll(waiting)) {
          expect(secondsAhead(state, entry, weightOf)).toBeCloseTo(before, 6)
        }
      }),
      { seed, numRuns: 200 },
    )
  })

  it('are short of it by no more than the entry of each other tenant that reaches over its turn', () => {
    const anySize = fc.oneof(
      fc.double({ min: 0.01, max: 5, noNaN: true }),
      fc.double({ min: 5, max: 2000, noNaN: true }),
    )
    fc.assert(
      fc.property(anyBacklog(anySize), (entries) => {
        const { state, waiting } = tagged(entries)
        for (const { entry, before } of serveAll(waiting)) {
          const ahead = secondsAhead(state, entry, weightOf)
          expect(ahead).toBeLessThanOrEqual(before + 1e-6)
          expect(ahead).toBeGreaterThanOrEqual(before - largestOfOthers(entries, entry) - 1e-6)
        }
      }),
      { seed, numRuns: 200 },
    )
  })

  it('stay within an entry and a step of each tenant while the lane is served', () => {
    const anySize = fc.double({ min: 0.05, max: 100, noNaN: true })
    fc.assert(
      fc.property(anyBacklog(anySize, 120), fc.nat(100), fc.nat(1000), (entries, share, pick) => {
        const lane = createSimulatedLane()
        lane.add(entries)
        const served = Math.floor((entries.length * share) / 100)
        let inService = 0
        for (let count = 0; count < served; count++) inService = lane.take()!.seconds
        const left = lane.order()
        if (left.length === 0) return
        const target = left[pick % left.length]!
        // The entry that was served last has only begun.
        let before = inService
        for (let next = lane.take()!; next.place !== target.place; next = lane.take()!) before += next.seconds
        const state = stateOf(entries, served)
        const flows = new Set(entries.map(({ band, tenant }) => `${band}:${tenant}`))
        const steps = [...flows].reduce((sum, flow) => sum + 2 * STEP * weightOf(flow.split(':')[1]!), 0)
        const own = entries.filter(({ tenant, band }) => tenant === target.tenant && band === target.band)
        const tolerance =
          steps + largestOfOthers(entries, target) + Math.max(...own.map((one) => one.seconds)) + inService
        expect(Math.abs(secondsAhead(state, target, weightOf) - before)).toBeLessThanOrEqual(tolerance)
      }),
      { seed, numRuns: 300 },
    )
  })

  it('are none in an empty lane, and none behind served entries', () => {
    const state: FairState = { v: 100, ends: new Map([['normal:a', 80]]) }
    expect(secondsAhead(state, { start: 100, band: 'normal' }, weightOf)).toBe(0)
    expect(secondsAhead(state, { start: 50, band: 'normal' }, weightOf)).toBe(0)
    expect(secondsAhead({ v: 0, ends: new Map() }, { start: 0, band: 'low' }, weightOf)).toBe(0)
  })
})

/** The state of a lane after so many entries were served. */
function stateOf(entries: Tagged[], served: number): FairState {
  const lane = createSimulatedLane()
  lane.add(entries)
  for (let count = 0; count < served; count++) lane.take()
  return lane.state
}

describe('the place of a newcomer', () => {
  it('is the tag that it would get, and asking changes nothing', () => {
    const anySize = fc.double({ min: 0.05, max: 100, noNaN: true })
    fc.assert(
      fc.property(anyBacklog(anySize), anyTenant, anyBand, fc.nat(60), (entries, tenant, band, served) => {
        const lane = createSimulatedLane()
        lane.add(entries)
        for (let count = 0; count < served; count++) lane.take()
        const { state } = lane
        const before = structuredClone(state)
        const position = positionOfNewcomer(state, tenant, band)
        expect(state).toEqual(before)
        const [added] = lane.add([{ tenant, band, seconds: 1, weight: weightOf(tenant) }])
        expect(position).toEqual({ start: added!.start, band })
      }),
      { seed, numRuns: 200 },
    )
  })
})
