import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { LaneLimits } from '../../config/lanes.ts'
import type { Cost } from '../../ratelimit/gate.ts'
import { seed } from '../helpers/seed.ts'
import { anyLimits, COUNTED, type LimitName, NAMES } from './ratelimit-limits.ts'
import { callOf, laneWith, makeLua, makeTwin } from './ratelimit-subjects.ts'
import type { Departure } from './ratelimit-traffic.ts'
import { createRandom, findFullestWindow, runTraffic } from './ratelimit-traffic.ts'

/** `npm run test:slow` plays more traffic. */
const isSlow = process.env.SLUICE_SLOW === '1'

/** Tolerance for a sum of whole numbers under a capacity that need not be whole. */
const ROUNDING = 1e-6

/** Checks every window of the provider, with each call arriving late by up to what the gate allows for. */
function expectNoWindowAbove(
  departures: Departure[],
  limits: LaneLimits,
  time: 'at' | 'logical',
  random: () => number,
) {
  const jitter = Math.min(50, limits.window / 20)
  const delays = departures.map(() => random() * jitter)
  for (const name of NAMES) {
    const limit = limits[name]
    if (limit === undefined) continue
    const arrivals = departures.map((departure, i) => ({
      at: departure[time] + delays[i]!,
      amount: departure.counted[COUNTED[name]],
    }))
    const capacity = (limit * limits.window) / 60_000
    const most = findFullestWindow(arrivals, limits.window)
    expect(most, `${name} of ${capacity} in ${limits.window} ms`).toBeLessThanOrEqual(
      (name === 'requests_per_minute' ? Math.max(capacity, 1) : capacity) + ROUNDING,
    )
  }
}

function expectNoMoreRunning(departures: Departure[], most: number, leaseMs: number) {
  const changes = departures.flatMap(({ at, runsUntil }) => [
    { at, by: 1 },
    { at: Math.min(runsUntil, at + leaseMs), by: -1 },
  ])
  let running = 0
  for (const { by } of changes.toSorted((a, b) => a.at - b.at || a.by - b.by)) {
    running += by
    expect(running).toBeLessThanOrEqual(most)
  }
}

/** Costs around 400 tokens; some as large as the lane admits at all. */
function pickCosts(limits: LaneLimits, random: () => number): () => Cost {
  const shares = NAMES.filter((name) => name !== 'requests_per_minute').map((name) => {
    const limit = limits[name]
    const each = { requests: 1, tokens: 1, inputTokens: 0.75, outputTokens: 0.26 }[COUNTED[name]]
    return limit === undefined ? Number.POSITIVE_INFINITY : (limit * limits.window) / 60_000 / each
  })
  const largest = Math.max(0, Math.floor(Math.min(40_000, ...shares) - 4))
  return () => callOf(Math.floor(random() < 0.05 ? largest * random() : Math.min(largest, 800 * random())))
}

describe.each([
  // The Lua takes a millisecond a call; ratelimit-twin.test.ts holds that the twin does the same.
  { name: 'Lua', make: makeLua, runs: isSlow ? 15 : 8, headrooms: [0.99], minutes: isSlow ? 5 : 2 },
  { name: 'twin', make: makeTwin, runs: 150, headrooms: [0.99, 0.9, 0.5], minutes: 5 },
])('the $name bucket under load', ({ make, runs, headrooms, minutes }) => {
  const maker = make()
  afterAll(maker.close)

  const hour = 3_600_000
  const disorder = [
    { what: 'clocks that keep time', time: 'at', leaps: [] },
    { what: 'a server clock that falls back by up to an hour', time: 'at', leaps: [-hour, -61_000, -7] },
    { what: 'a server clock that leaps both ways', time: 'logical', leaps: [-hour, hour, -30_000, 30_000] },
  ] as const

  it.each(disorder)(
    'lets no window of the provider hold more than the limit, with $what',
    async (how) => {
      await fc.assert(
        fc.asyncProperty(
          anyLimits,
          fc.integer({ min: 1, max: 8 }),
          fc.integer(),
          async (limits, takers, chance) => {
            const random = createRandom(chance)
            const leaseMs = 3000
            const departures = await runTraffic({
              subject: maker.create({ leaseMs }),
              lane: laneWith(limits),
              takers,
              durationMs: limits.window * 3.5,
              random,
              nextCost: pickCosts(limits, random),
              latenessMs: 20,
              latencyMs: 2000,
              crashShare: 0.05,
              twiceShare: 0.2,
              refunds: true,
              leap: {
                share: how.leaps.length > 0 ? 0.1 : 0,
                pick: () => how.leaps[Math.floor(random() * how.leaps.length)] ?? 0,
              },
            })
            expect(departures.length).toBeGreaterThan(0)
            expectNoWindowAbove(departures, limits, how.time, random)
            if (limits.max_concurrency !== undefined && how.leaps.length === 0)
              expectNoMoreRunning(departures, limits.max_concurrency, leaseMs)
          },
        ),
        { seed, numRuns: runs },
      )
    },
    120_000,
  )

  it('lets no 24 hours hold more than the requests of a day', async () => {
    const random = createRandom(seed)
    const departures = await runTraffic({
      subject: maker.create(),
      lane: laneWith({ requests_per_day: 150, requests_per_minute: 10 }),
      takers: 4,
      durationMs: 60 * hour,
      random,
      nextCost: () => callOf(10),
      latencyMs: 5000,
    })
    expect(departures.length).toBeGreaterThanOrEqual(450)
    const arrivals = departures.map(({ at, counted }) => ({ at, amount: counted.requests }))
    expect(findFullestWindow(arrivals, 24 * hour)).toBe(150)
  })

  const saturated: { what: string; limits: Partial<LaneLimits>; cost: Cost; counted: LimitName }[] = [
    {
      what: 'requests, few of them',
      limits: { requests_per_minute: 60 },
      cost: callOf(500),
      counted: 'requests_per_minute',
    },
    {
      what: 'requests, many of them',
      limits: { requests_per_minute: 900 },
      cost: callOf(500),
      counted: 'requests_per_minute',
    },
    {
      what: 'tokens',
      limits: { tokens_per_minute: 200_000 },
      cost: callOf(400),
      counted: 'tokens_per_minute',
    },
    {
      what: 'input tokens',
      limits: { input_tokens_per_minute: 100_000 },
      cost: callOf(400),
      counted: 'input_tokens_per_minute',
    },
    {
      what: 'output tokens',
      limits: { output_tokens_per_minute: 50_000 },
      cost: callOf(400),
      counted: 'output_tokens_per_minute',
    },
    {
      what: 'tokens, tightest of all dimensions',
      limits: {
        requests_per_minute: 600,
        tokens_per_minute: 200_000,
        input_tokens_per_minute: 160_000,
        output_tokens_per_minute: 60_000,
        requests_per_day: 10_000,
        max_concurrency: 64,
      },
      cost: callOf(400),
      counted: 'tokens_per_minute',
    },
  ]

  it.each(saturated)(
    'uses the allowed part of $what, though its takers come late',
    async ({ limits, cost, counted }) => {
      // Of few requests, one more or less counts.
      const length = limits.requests_per_minute === 60 ? 2.5 : minutes / 2
      for (const headroom of headrooms) {
        const departures = await runTraffic({
          subject: maker.create(),
          lane: laneWith({ ...limits, headroom }),
          takers: 4,
          durationMs: length * 60_000,
          random: createRandom(seed),
          nextCost: () => cost,
          latenessMs: 60,
          latencyMs: 1000,
        })
        const used = departures.reduce((sum, departure) => sum + departure.counted[COUNTED[counted]], 0)
        const utilisation = used / (limits[counted]! * length)
        expect(Math.abs(utilisation - headroom), `used ${utilisation}`).toBeLessThan(0.005)
      }
    },
    60_000,
  )

  it('uses the allowed part of both limits, where most calls need requests and a few need tokens', async () => {
    const random = createRandom(seed)
    const departures = await runTraffic({
      subject: maker.create(),
      lane: laneWith({ requests_per_minute: 1800, tokens_per_minute: 180_000 }),
      takers: 4,
      durationMs: minutes * 60_000,
      random,
      nextCost: () => callOf(random() < 0.75 ? 40 : random() < 0.8 ? 150 : 880),
      latenessMs: 20,
      latencyMs: 1000,
    })
    const used = (name: 'requests' | 'tokens') =>
      departures.reduce((sum, departure) => sum + departure.counted[name], 0) / minutes
    expect(Math.max(used('requests') / 1800, used('tokens') / 180_000)).toBeGreaterThan(0.95)
  }, 60_000)

  it('uses what the network allows of a limit that is counted by the second', async () => {
    const departures = await runTraffic({
      subject: maker.create(),
      lane: laneWith({ requests_per_minute: 1200, window: 1000 }),
      takers: 4,
      durationMs: 30_000,
      random: createRandom(seed),
      nextCost: () => callOf(1),
      latenessMs: 5,
    })
    expect(departures.length / 600).toBeGreaterThan(0.94)
  })
})
