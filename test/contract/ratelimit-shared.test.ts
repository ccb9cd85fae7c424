import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { Lane, LaneLimits } from '../../config/lanes.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { createGate } from '../../ratelimit/create-gate.ts'
import type { Gate } from '../../ratelimit/gate.ts'
import { keysOf, testRedis } from '../helpers/redis.ts'
import { seed } from '../helpers/seed.ts'
import { callOf, laneWith, makeLua, makeTwin } from './ratelimit-subjects.ts'
import { createRandom, findFullestWindow, runTraffic } from './ratelimit-traffic.ts'

/** `npm run test:slow` tries more traffic. */
const isSlow = process.env.SLUICE_SLOW === '1'

const WIDE = { window: 60_000, headroom: 0.99 }

function lanesSharing(shared: Partial<LaneLimits>, ...own: Partial<LaneLimits>[]): Lane[] {
  return own.map((limits, index) => ({
    ...laneWith(limits),
    id: `provider/model-${index}`,
    shared: [{ name: 'family', limits: { ...WIDE, ...shared } }],
  }))
}

/** Takes from one lane until it is refused; answers the permits. */
async function drain(gate: Gate, lane: Lane): Promise<string[]> {
  const { permits } = await gate.take(
    lane,
    Array.from({ length: 500 }, () => ({ cost: callOf(100) })),
  )
  return permits
}

describe.each([
  { name: 'Lua', make: makeLua, runs: isSlow ? 12 : 2 },
  { name: 'twin', make: makeTwin, runs: isSlow ? 60 : 15 },
])('shared limits of the $name bucket', ({ make, runs }) => {
  const maker = make()
  afterAll(maker.close)

  it('hold over all lanes that they name, in every window, and are used', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 60, max: isSlow ? 900 : 300 }),
        fc.integer({ min: 2, max: 4 }),
        fc.integer(),
        async (perMinute, count, chance) => {
          const subject = maker.create()
          const lanes = lanesSharing(
            { requests_per_minute: perMinute },
            ...Array.from({ length: count }, () => ({ requests_per_minute: perMinute })),
          )
          const departures = await runTraffic({
            subject,
            lane: lanes[0]!,
            lanes,
            takers: 2 * count,
            durationMs: 150_000,
            random: createRandom(chance),
            nextCost: () => callOf(100),
            latenessMs: 20,
            latencyMs: 2000,
          })
          const arrivals = departures.map(({ at }) => ({ at, amount: 1 }))
          expect(findFullestWindow(arrivals, 60_000)).toBeLessThanOrEqual(perMinute)
          expect(departures.length / (perMinute * 2.5)).toBeGreaterThan(0.95)
        },
      ),
      { seed, numRuns: runs },
    )
  }, 120_000)

  it('take nothing from any bucket where one of them has no room', async () => {
    const { gate, clock } = maker.create()
    const [narrow, wide] = lanesSharing({ max_concurrency: 3 }, { max_concurrency: 1 }, {}) as [Lane, Lane]
    expect(await drain(gate, narrow)).toHaveLength(1)
    expect(await drain(gate, narrow)).toHaveLength(0)
    expect(await drain(gate, wide)).toHaveLength(2)
    const refused = await gate.take(wide, [{ cost: callOf(100) }])
    expect(refused).toMatchObject({ permits: [], waitingFor: 'concurrency' })
    const { inFlight, taken, shared } = await gate.read(wide)
    expect({ inFlight, requests: taken.requests }).toEqual({ inFlight: 2, requests: 2 })
    expect(shared).toMatchObject([{ name: 'family', inFlight: 3, taken: { requests: 3 } }])
    clock.now += 1
  })

  it('get back what a call did not use, and its slot, with its lane', async () => {
    const { gate } = maker.create()
    const [lane] = lanesSharing({ tokens_per_minute: 60_000, max_concurrency: 1 }, {}) as [Lane]
    const { permits } = await gate.take(lane, [{ cost: callOf(5000) }])
    await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(1000) }])
    await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(0) }])
    const { shared, used } = await gate.read(lane)
    expect(shared[0]).toMatchObject({ inFlight: 0, used: { tokens: 1000 }, refunded: { tokens: 4000 } })
    expect(used.tokens).toBe(1000)
  })

  it('never admit a call that is larger than one of them, and say so at once', async () => {
    const { gate } = maker.create()
    const [lane] = lanesSharing({ tokens_per_minute: 1000 }, { tokens_per_minute: 100_000 }) as [Lane]
    expect(await gate.take(lane, [{ cost: callOf(1001) }])).toMatchObject({
      never: true,
      waitingFor: 'tokens',
    })
  })

  it('pause for a 429 where they have the least room, and with them every lane they name', async () => {
    const { gate } = maker.create()
    const [full, other] = lanesSharing(
      { requests_per_minute: 60 },
      { requests_per_minute: 6000 },
      { requests_per_minute: 6000 },
    ) as [Lane, Lane]
    const { permits } = await gate.take(full, [{ cost: callOf(100) }])
    await gate.settle(full, [{ permit: permits[0]!, actual: callOf(100), throttledMs: 5000 }])
    expect(await gate.take(other, [{ cost: callOf(100) }])).toMatchObject({
      permits: [],
      waitingFor: 'provider_pause',
    })
    await gate.resume(other)
    expect((await gate.read(other)).shared[0]).toMatchObject({ pausedUntil: null, throttled: 1 })
  })

  it('leave others alone where the 429 was about the limit of the lane itself', async () => {
    const { gate, clock } = maker.create()
    const [full, other] = lanesSharing(
      { requests_per_minute: 6000 },
      { requests_per_minute: 60 },
      { requests_per_minute: 60 },
    ) as [Lane, Lane]
    const { permits } = await gate.take(full, [{ cost: callOf(100) }])
    await gate.settle(full, [{ permit: permits[0]!, actual: callOf(100), throttledMs: 5000 }])
    clock.now += 1000
    expect((await gate.take(other, [{ cost: callOf(100) }])).permits).toHaveLength(1)
  })

  it('learn from a report the limit that it is nearest to', async () => {
    const { gate } = maker.create()
    const [lane] = lanesSharing({ requests_per_minute: 1000 }, { requests_per_minute: 100 }) as [Lane]
    const { permits } = await gate.take(lane, [{ cost: callOf(10) }])
    await gate.settle(lane, [
      { permit: permits[0]!, actual: callOf(10), feedback: { limitRequests: 800, remainingRequests: 700 } },
    ])
    const { learned, shared } = await gate.read(lane)
    expect(learned.requests).toBeNull()
    expect(shared[0]!.learned.requests).toMatchObject({ limit: 800 })
  })

  it('stay as lanes join and leave them', async () => {
    const { gate, clock } = maker.create({ leaseMs: 1000 })
    const [lane] = lanesSharing({ max_concurrency: 2 }, {}) as [Lane]
    const alone = { ...lane, shared: [] }
    const before = await gate.take(alone, [{ cost: callOf(10) }])
    const under = await gate.take(lane, [{ cost: callOf(10) }, { cost: callOf(10) }, { cost: callOf(10) }])
    expect(under.permits).toHaveLength(2)
    // A permit from before it came under the limit settles, and so does one from before it left.
    await gate.settle(lane, [{ permit: before.permits[0]!, actual: callOf(10) }])
    await gate.settle(alone, [{ permit: under.permits[0]!, actual: callOf(10) }])
    expect((await gate.read(lane)).inFlight).toBe(1)
    clock.now += 1001
    expect((await gate.take(lane, [{ cost: callOf(10) }, { cost: callOf(10) }])).permits).toHaveLength(2)
  })
})

it('the state that a shared limit leaves behind when it is renamed or removed expires', async ({
  expect,
  onTestFinished,
}) => {
  const place = testRedis()
  const redis = createRedis({ ...place, role: 'bullmq', name: 'test-gate' })
  onTestFinished(() => closeRedis(redis))
  const { prefix } = place
  const gate = createGate({ redis, prefix, random: () => 0 })
  const [lane] = lanesSharing({ requests_per_day: 100 }, {}) as [Lane]
  const [first, second] = await drain(gate, lane)
  await gate.settle(lane, [{ permit: first!, actual: callOf(100) }])
  expect(second).toBeDefined()
  await gate.resume(lane)
  const shared = (await keysOf(redis, `${prefix}:*`)).filter((key) => key.includes(':shared:family:'))
  expect(shared.length).toBeGreaterThanOrEqual(3)
  for (const key of shared) expect(await redis.pttl(key), key).toBeGreaterThan(24 * 60 * 60 * 1000)
})
