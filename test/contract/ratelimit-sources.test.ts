import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { Lane, LaneLimits, LaneSource } from '../../config/lanes.ts'
import { sourceOfPermit } from '../../ratelimit/addresses.ts'
import type { Gate } from '../../ratelimit/gate.ts'
import { seed } from '../helpers/seed.ts'
import { callOf, laneWith, makeLua, makeTwin } from './ratelimit-subjects.ts'
import { createRandom, findFullestWindow, runTraffic } from './ratelimit-traffic.ts'

type SourceOptions = Partial<LaneLimits> & { weight?: number }

/** Sources `s0`, `s1`, … with these limits. */
function laneOf(...sources: SourceOptions[]): Lane & { sources: LaneSource[] } {
  return {
    ...laneWith({}),
    sources: sources.map(({ weight = 1, ...limits }, index) => ({
      name: `s${index}`,
      limits: { window: 60_000, headroom: 0.99, ...limits },
      weight,
      model: 'm',
      mark: 'k',
    })),
  }
}

/** Takes `count` calls; answers the source of each that may leave. */
async function takeNames(
  gate: Gate,
  lane: Lane,
  count: number,
  wanted: string[] = [],
): Promise<(string | null)[]> {
  const requests = Array.from({ length: count }, (_, index) => ({
    cost: callOf(100),
    source: wanted[index] ?? '',
  }))
  return (await gate.take(lane, requests)).permits.map(sourceOfPermit)
}

const countOf = (names: (string | null)[], name: string) => names.filter((one) => one === name).length

describe.each([
  { name: 'Lua', make: makeLua, runs: 1 },
  { name: 'twin', make: makeTwin, runs: 4 },
])('sources of the $name bucket', ({ make, runs }) => {
  const maker = make()
  afterAll(maker.close)

  it('are filled to the sum of their limits, and none beyond its own, in any window', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 60, max: 300 }), { minLength: 2, maxLength: 3 }),
        fc.integer(),
        async (limits, chance) => {
          const subject = maker.create()
          const lane = laneOf(...limits.map((requests_per_minute) => ({ requests_per_minute })))
          const taken: { name: string | null; at: number }[] = []
          const start = subject.clock.now
          const gate: Gate = {
            ...subject.gate,
            async take(...asked) {
              const answer = await subject.gate.take(...asked)
              const at = subject.clock.now - start
              for (const permit of answer.permits) taken.push({ name: sourceOfPermit(permit), at })
              return answer
            },
          }
          const departures = await runTraffic({
            subject: { ...subject, gate },
            lane,
            takers: 6,
            durationMs: 150_000,
            random: createRandom(chance),
            nextCost: () => callOf(100),
            latenessMs: 20,
            latencyMs: 2000,
          })
          for (const [index, perMinute] of limits.entries()) {
            const arrivals = taken.flatMap(({ name, at }) =>
              name === `s${index}` ? [{ at, amount: 1 }] : [],
            )
            expect(findFullestWindow(arrivals, 60_000)).toBeLessThanOrEqual(perMinute)
          }
          const sum = limits.reduce((total, one) => total + one, 0)
          expect(departures.length / (sum * 2.5)).toBeGreaterThan(0.95)
          const { rates, sources } = await gate.read(lane)
          expect(rates.requests).toBeCloseTo(sum * 0.99, 6)
          expect(sources).toHaveLength(limits.length)
        },
      ),
      { seed, numRuns: runs },
    )
  }, 120_000)

  it('get calls by their room, and by their weight while all have room', async () => {
    const { gate } = maker.create()
    const roomy = laneOf({ max_concurrency: 30 }, { max_concurrency: 10 })
    const byRoom = await takeNames(gate, roomy, 20)
    expect([countOf(byRoom, 's0'), countOf(byRoom, 's1')]).toEqual([15, 5])
    const weighted = {
      ...laneOf({ max_concurrency: 40, weight: 3 }, { max_concurrency: 40 }),
      id: 'provider/weighted',
    }
    const byWeight = await takeNames(gate, weighted, 40)
    expect([countOf(byWeight, 's0'), countOf(byWeight, 's1')]).toEqual([30, 10])
    // When the heavy one is full, the other serves the rest.
    expect(countOf(await takeNames(gate, weighted, 100), 's1')).toBe(30)
  })

  it('admit a call that any of them could ever admit, at that source', async () => {
    const { gate } = maker.create()
    const lane = laneOf({ tokens_per_minute: 500 }, { tokens_per_minute: 5000 })
    expect((await gate.take(lane, [{ cost: callOf(2000) }])).permits.map(sourceOfPermit)).toEqual(['s1'])
    expect(await gate.take(lane, [{ cost: callOf(5001) }])).toMatchObject({
      never: true,
      waitingFor: 'tokens',
    })
  })

  it('that refuse us are shut alone, and then tried with one call at a time', async () => {
    const { gate, clock } = maker.create()
    const lane = laneOf({ max_concurrency: 4 }, { max_concurrency: 4 })
    const { permits } = await gate.take(lane, [{ cost: callOf(1) }, { cost: callOf(1) }])
    const refused = permits.find((permit) => permit.endsWith('@s0'))!
    const settle = (permit: string, rest: { shutMs?: number; outcome?: 'ok' }) =>
      gate.settle(lane, [{ permit, actual: callOf(1), shutReason: 'invalid_api_key', ...rest }])
    await settle(refused, { shutMs: 600_000 })
    expect(await takeNames(gate, lane, 8)).toEqual(['s1', 's1', 's1'])
    const shut = await gate.read(lane)
    expect(shut.sources[0]!.shut).toEqual({ till: clock.now + 600_000, reason: 'invalid_api_key' })
    // The lane goes on: it is not paused.
    expect(shut).toMatchObject({ pausedUntil: null, speed: 0.5 })
    expect(await gate.take(lane, [{ cost: callOf(1), source: 's0' }])).toMatchObject({
      permits: [],
      waitMs: 600_000,
      waitingFor: 'provider_pause',
    })

    clock.now += 600_001
    const trial = await gate.take(lane, [
      { cost: callOf(1), source: 's0' },
      { cost: callOf(1), source: 's0' },
    ])
    expect(trial.permits).toHaveLength(1)
    await settle(trial.permits[0]!, { outcome: 'ok' })
    expect(await takeNames(gate, lane, 2, ['s0', 's0'])).toEqual(['s0', 's0'])
    expect((await gate.read(lane)).sources[0]!.shut).toBeNull()
  })

  it('pause the lane where all of them are shut, which says why; another key, or resume, opens them', async () => {
    const { gate } = maker.create()
    const lane = laneOf({ max_concurrency: 4 }, { max_concurrency: 4 })
    const { permits } = await gate.take(lane, [{ cost: callOf(1) }, { cost: callOf(1) }])
    for (const [index, permit] of permits.entries())
      await gate.settle(lane, [
        { permit, actual: null, shutMs: 1000 * (index + 1), shutReason: `no ${permit.slice(-2)}` },
      ])
    const asked = await gate.take(lane, [{ cost: callOf(1) }])
    expect(asked).toMatchObject({ permits: [], waitMs: 1000, waitingFor: 'provider_pause' })
    const state = await gate.read(lane)
    expect(state).toMatchObject({ pausedReason: 's0: no s0; s1: no s1', speed: 0 })
    expect(state.pausedUntil).not.toBeNull()
    const renewed = {
      ...lane,
      sources: lane.sources.map((one, index) => (index === 1 ? { ...one, mark: 'new' } : one)),
    }
    expect(await takeNames(gate, renewed, 1)).toEqual(['s1'])
    await gate.resume(lane)
    expect((await takeNames(gate, lane, 1))[0]).toMatch(/^s/)
  })

  it('pause and slow down alone after a 429', async () => {
    const { gate } = maker.create()
    const lane = laneOf({ requests_per_minute: 600 }, { requests_per_minute: 600 })
    const { permits } = await gate.take(lane, [{ cost: callOf(1) }])
    const paused = sourceOfPermit(permits[0]!)
    await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(1), throttledMs: 5000 }])
    const names = await takeNames(gate, lane, 1)
    expect(names).toHaveLength(1)
    expect(names[0]).not.toBe(paused)
    const { pausedUntil, throttled, sources } = await gate.read(lane)
    expect({ pausedUntil, throttled }).toEqual({ pausedUntil: null, throttled: 1 })
    expect(sources.find(({ name }) => name === paused)!.speed).toBeLessThan(1)
  })

  it('break alone: calls go to the sound ones, and one goes as a probe when it is half-open', async () => {
    const { gate, clock } = maker.create()
    const lane = laneOf({ max_concurrency: 100 }, { max_concurrency: 100 })
    for (let index = 0; index < 5; index++) {
      const { permits } = await gate.take(lane, [{ cost: callOf(1), tenant: 't', source: 's0' }])
      const source = { tenant: 't', prompt: `p${index}`, job: `${index}` }
      await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(1), outcome: 'broken', source }])
      clock.now += 1
    }
    const state = await gate.read(lane)
    expect(state.sources.map(({ breaker }) => breaker.state)).toEqual(['open', 'closed'])
    expect(state).toMatchObject({ pausedUntil: null, breaker: { state: 'closed', heldTenants: [] } })
    expect(countOf(await takeNames(gate, lane, 10), 's0')).toBe(0)
    clock.now += 15_000
    expect(countOf(await takeNames(gate, lane, 10), 's0')).toBe(1)
  })

  it('that are gone settle with their lane, and their calls go to any other source', async () => {
    const { gate } = maker.create()
    const lane = laneOf({ max_concurrency: 2 }, { max_concurrency: 2 })
    const { permits } = await gate.take(lane, [{ cost: callOf(100), source: 's1' }])
    const less = { ...lane, sources: lane.sources.slice(0, 1) }
    await gate.settle(less, [{ permit: permits[0]!, actual: callOf(40), throttledMs: 5000, shutMs: 5000 }])
    expect(await takeNames(gate, less, 1, ['s1'])).toEqual(['s0'])
    const { inFlight, taken, refunded } = await gate.read(less)
    expect({ inFlight, taken: taken.tokens - refunded.tokens }).toEqual({ inFlight: 1, taken: 140 })
  })
})
