import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Lane } from '../../config/lanes.ts'
import { BAND_SECONDS, type Band, priorityOf, serviceSeconds, type Tagged } from '../../ratelimit/fairness.ts'
import { seed } from '../helpers/seed.ts'
import { createSimulatedLane, type SimulatedLane } from './fairness-lane.ts'

/** Entries whose tags are within one step of the priority are served in the order in which they came, s. */
const STEP = 0.5
/** Sums of doubles. */
const ROUNDING = 1e-6

const bands = Object.keys(BAND_SECONDS) as Band[]
const anyBand = fc.constantFrom(...bands)
const anyWeight = fc.constantFrom(0.2, 0.5, 1, 2, 3, 5)
/** From far below a step to far above. */
const anySeconds = fc.oneof(
  fc.double({ min: 0.001, max: 0.1, noNaN: true }),
  fc.double({ min: 0.1, max: 30, noNaN: true }),
)

/** A tenant that always has work: the sizes of its entries in turn, and how many of them wait at once. */
type Busy = { weight: number; sizes: number[]; waiting: number }
const anyBusy = fc.record({
  weight: anyWeight,
  sizes: fc.array(anySeconds, { minLength: 1, maxLength: 4 }),
  waiting: fc.integer({ min: 1, max: 40 }),
})
const largest = ({ sizes }: Busy) => Math.max(...sizes)

/** Keeps tenants busy in one band: after an entry of a tenant is served, its next entry comes. */
function keepBusy(lane: SimulatedLane, tenants: Busy[], band: Band = 'normal') {
  const made = tenants.map(() => 0)
  function next(index: number): Tagged {
    const { sizes, weight } = tenants[index]!
    const seconds = sizes[made[index]!++ % sizes.length]!
    return { tenant: String(index), band, seconds, weight }
  }
  return {
    join(index: number) {
      lane.add(Array.from({ length: tenants[index]!.waiting }, () => next(index)))
    },
    /** Serves one entry of the lane, and answers it. */
    serve() {
      const served = lane.take()!
      const index = Number(served.tenant)
      if (served.band === band && tenants[index]) lane.add([next(index)])
      return served
    },
  }
}

describe('the order of a lane', () => {
  it('keeps the entries of a tenant in a band in the order in which they came', () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.tuple(fc.constantFrom('a', 'b', 'c'), anyBand, anySeconds, anyWeight) },
        { weight: 2, arbitrary: fc.constant(null) },
      ),
      { maxLength: 300 },
    )
    fc.assert(
      fc.property(steps, (script) => {
        const lane = createSimulatedLane()
        const last = new Map<string, number>()
        const check = () => {
          const served = lane.take()
          if (!served) return false
          const flow = `${served.band}:${served.tenant}`
          expect(served.place).toBeGreaterThan(last.get(flow) ?? -1)
          last.set(flow, served.place)
          return true
        }
        for (const step of script) {
          if (step === null) check()
          else lane.add([{ tenant: step[0], band: step[1], seconds: step[2], weight: step[3] }])
        }
        while (check());
      }),
      { seed, numRuns: 300 },
    )
  })

  it('lets no busy tenant get ahead of another by more than an entry of each, by weight', () => {
    fc.assert(
      fc.property(fc.array(anyBusy, { minLength: 2, maxLength: 4 }), fc.nat(100), (tenants, later) => {
        const lane = createSimulatedLane()
        const busy = keepBusy(lane, tenants)
        const last = tenants.length - 1
        for (let index = 0; index < last; index++) busy.join(index)
        const joined = (index: number) => index < last || served >= later
        const shares = tenants.map(() => 0)
        // How far one tenant's weighted service was ahead of the other's, at least and at most.
        const leads = new Map<string, { from: number; to: number }>()
        let served = 0
        for (; served < later + 400; served++) {
          if (served === later) busy.join(last)
          const entry = busy.serve()
          shares[Number(entry.tenant)]! += entry.seconds / entry.weight
          for (let a = 0; a < tenants.length; a++) {
            for (let b = a + 1; b < tenants.length; b++) {
              if (!joined(a) || !joined(b)) continue
              const lead = shares[a]! - shares[b]!
              const { from, to } = leads.get(`${a} ${b}`) ?? { from: lead, to: lead }
              leads.set(`${a} ${b}`, { from: Math.min(from, lead), to: Math.max(to, lead) })
            }
          }
        }
        for (const [pair, { from, to }] of leads) {
          const most = pair.split(' ').reduce((sum, index) => {
            const tenant = tenants[Number(index)]!
            return sum + largest(tenant) / tenant.weight
          }, 0)
          expect(to - from, `how far ${pair} part`).toBeLessThanOrEqual(most + 2 * STEP + ROUNDING)
        }
      }),
      { seed, numRuns: 200 },
    )
  })

  it.each([
    ['a second', 1, 20_000],
    ['a millisecond', 0.001, 100],
  ])(
    'serves by weight, within a twentieth, beside a flood of 100,000 jobs of %s each',
    (_what, unit, run) => {
      const lane = createSimulatedLane()
      const flood = { tenant: 'flood', band: 'normal' as const, seconds: unit, weight: 1 }
      lane.add(Array.from({ length: 100_000 }, () => flood))
      const tenants = [
        { weight: 1, sizes: [unit * 0.3], waiting: 50 },
        { weight: 3, sizes: [unit, unit * 5, unit * 0.2], waiting: 50 },
        { weight: 0.5, sizes: [unit * 2], waiting: 50 },
      ]
      const busy = keepBusy(lane, tenants)
      for (const index of tenants.keys()) busy.join(index)
      const served = new Map<string, number>()
      let total = 0
      while (total < run) {
        const { tenant, seconds } = busy.serve()
        served.set(tenant, (served.get(tenant) ?? 0) + seconds)
        total += seconds
      }
      for (const [tenant, weight] of [
        ['flood', 1],
        ['0', 1],
        ['1', 3],
        ['2', 0.5],
      ] as const) {
        const share = served.get(tenant)! / total
        expect(share / (weight / 5.5), `share of ${tenant}`).toBeGreaterThan(0.95)
        expect(share / (weight / 5.5), `share of ${tenant}`).toBeLessThan(1.05)
      }
    },
  )

  it('lets a quiet tenant wait for no more than a step and an entry of each busy one', () => {
    const tenants = fc.array(anyBusy, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(tenants, fc.integer({ min: 1, max: 500 }), anyWeight, (floods, before, weight) => {
        const lane = createSimulatedLane()
        const busy = keepBusy(
          lane,
          floods.map((one) => ({ ...one, waiting: 500 })),
        )
        for (const index of floods.keys()) busy.join(index)
        for (let served = 0; served < before; served++) busy.serve()
        lane.add([{ tenant: 'quiet', band: 'normal', seconds: 1, weight }])
        let waited = 0
        for (let next = busy.serve(); next.tenant !== 'quiet'; next = busy.serve()) waited += next.seconds
        const most = floods.reduce((sum, one) => sum + STEP * one.weight + largest(one), 0)
        expect(waited).toBeLessThanOrEqual(most + ROUNDING)
      }),
      { seed, numRuns: 300 },
    )
  })

  it('makes low wait behind high and normal for an hour of their service, and no longer', () => {
    const tenants = fc.array(
      fc.record({
        weight: fc.constantFrom(1, 2),
        sizes: fc.array(fc.double({ min: 5, max: 60, noNaN: true }), { minLength: 1, maxLength: 3 }),
        waiting: fc.integer({ min: 1, max: 20 }),
      }),
      { minLength: 1, maxLength: 3 },
    )
    fc.assert(
      fc.property(tenants, fc.constantFrom('high', 'normal'), fc.nat(200), (floods, band, before) => {
        const lane = createSimulatedLane()
        const busy = keepBusy(lane, floods, band)
        for (const index of floods.keys()) busy.join(index)
        for (let served = 0; served < before; served++) busy.serve()
        lane.add([{ tenant: 'patient', band: 'low', seconds: 1, weight: 1 }])
        let waited = 0
        for (let next = busy.serve(); next.tenant !== 'patient'; next = busy.serve()) waited += next.seconds
        const weights = floods.reduce((sum, one) => sum + one.weight, 0)
        const entries = floods.reduce((sum, one) => sum + largest(one), 0)
        const handicap = BAND_SECONDS.low - BAND_SECONDS[band]
        expect(waited).toBeLessThanOrEqual(weights * (handicap + STEP) + entries + ROUNDING)
        expect(waited).toBeGreaterThanOrEqual(weights * (handicap - STEP) - entries - ROUNDING)
      }),
      { seed, numRuns: 200 },
    )
  })

  it('gives low its share beside a lasting flood of high, once an hour is over', () => {
    const lane = createSimulatedLane()
    const busy = keepBusy(lane, [{ weight: 1, sizes: [10], waiting: 50 }], 'high')
    busy.join(0)
    lane.add(Array.from({ length: 200 }, () => ({ tenant: 'patient', band: 'low', seconds: 10, weight: 1 })))
    let total = 0
    const served = { 0: 0, patient: 0 }
    while (total < 3600 + 2000) {
      const { tenant, seconds } = busy.serve()
      total += seconds
      if (total > 3600) served[tenant as '0' | 'patient'] += seconds
    }
    expect(served.patient / (served[0] + served.patient)).toBeCloseTo(0.5, 1)
  })
})

describe('the priority of an entry', () => {
  it('is one that the queue accepts, for any tag', () => {
    const anyStart = fc.oneof(
      fc.double({ min: 0, max: 2e6, noNaN: true }),
      fc.double({ min: 0, noNaN: true }),
    )
    fc.assert(
      fc.property(anyStart, anyBand, (start, band) => {
        const priority = priorityOf(start, band)
        expect(Number.isInteger(priority)).toBe(true)
        expect(priority).toBeGreaterThanOrEqual(1)
        expect(priority).toBeLessThanOrEqual(2 ** 21 - 1)
      }),
      { seed, numRuns: 1000 },
    )
    expect(priorityOf(0, 'high')).toBe(1)
    expect(priorityOf(1e15, 'low')).toBe(2 ** 21 - 1)
    expect(priorityOf(Number.POSITIVE_INFINITY, 'high')).toBe(2 ** 21 - 1)
  })

  it('follows the tag, a step for each half second, and separates the bands', () => {
    const anyStart = fc.double({ min: 0, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(anyStart, anyStart, anyBand, (a, b, band) => {
        const [first, second] = [Math.min(a, b), Math.max(a, b)]
        expect(priorityOf(first, band)).toBeLessThanOrEqual(priorityOf(second, band))
        if (second - first >= STEP && second < 1e6 - 3600) {
          expect(priorityOf(first, band)).toBeLessThan(priorityOf(second, band))
        }
        expect(priorityOf(first, 'high')).toBeLessThan(priorityOf(first, 'normal'))
        expect(priorityOf(first, 'normal')).toBeLessThan(priorityOf(first, 'low'))
      }),
      { seed, numRuns: 1000 },
    )
    expect(priorityOf(0.49, 'high')).toBe(1)
    expect(priorityOf(0.5, 'high')).toBe(2)
    expect(priorityOf(0, 'normal') - priorityOf(0, 'high')).toBe(600 / STEP)
    expect(priorityOf(0, 'low') - priorityOf(0, 'high')).toBe(3600 / STEP)
  })
})

describe('what a call counts', () => {
  const anyLimits = fc.record(
    {
      max_concurrency: fc.integer({ min: 1, max: 500 }),
      requests_per_minute: fc.integer({ min: 1, max: 1_000_000 }),
      tokens_per_minute: fc.integer({ min: 1, max: 100_000_000 }),
    },
    { requiredKeys: ['max_concurrency'] },
  )

  it('leaves a tenant no more calls in a step than half of those that may be under way at once', () => {
    fc.assert(
      fc.property(anyLimits, fc.integer({ min: 0, max: 5000 }), (limits, tokens) => {
        const lane = { id: 'up/chat', limits: { window: 60_000, headroom: 1, ...limits } } as unknown as Lane
        const seconds = serviceSeconds(lane, { tokens, inputTokens: tokens, outputTokens: 0 })
        const simulated = createSimulatedLane()
        simulated.add(
          Array.from({ length: limits.max_concurrency + 5 }, () => ({
            tenant: 'flood',
            band: 'normal' as const,
            seconds,
            weight: 1,
          })),
        )
        // The first is being served when another tenant's job comes.
        simulated.take()
        simulated.add([{ tenant: 'quiet', band: 'normal', seconds, weight: 1 }])
        let before = 0
        while (simulated.take()!.tenant !== 'quiet') before++
        expect(before).toBeLessThanOrEqual(Math.ceil(limits.max_concurrency / 2))
      }),
      { seed, numRuns: 200 },
    )
  })

  it('is larger where a call has more tokens, also where nothing limits them', () => {
    const lane = {
      id: 'up/chat',
      limits: { window: 60_000, headroom: 1, max_concurrency: 64 },
    } as unknown as Lane
    const seconds = (tokens: number) => serviceSeconds(lane, { tokens, inputTokens: tokens, outputTokens: 0 })
    expect(seconds(100_000) - seconds(50_000)).toBeCloseTo(0.5)
    expect(seconds(0)).toBeGreaterThan(0)
  })
})
