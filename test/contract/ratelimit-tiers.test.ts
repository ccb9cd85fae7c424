import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { createRedis } from '../../lib/redis.ts'
import { laneRoot } from '../../ratelimit/addresses.ts'
import { createGate } from '../../ratelimit/create-gate.ts'
import type { Gate, Settlement } from '../../ratelimit/gate.ts'
import { SERVICE_TIERS, type ServiceTier } from '../../ratelimit/lane-state.ts'
import { testRedis } from '../helpers/redis.ts'
import { callOf, laneWith, makeLua, makeTwin, type Subject } from './ratelimit-subjects.ts'

const CALL = callOf(10)
const LANE = laneWith({ requests_per_minute: 60_000 })
const SHARED = { ...LANE, shared: [{ name: 'family', limits: LANE.limits }] }
const SOURCES = {
  ...LANE,
  sources: [{ name: 'main', limits: LANE.limits, weight: 1, model: 'model', mark: 'k' }],
}

const PAIRS = SERVICE_TIERS.flatMap((shut) =>
  SERVICE_TIERS.filter((other) => other !== shut).map((other) => ({ shut, other })),
)

describe.each([
  { name: 'Lua', make: makeLua },
  { name: 'twin', make: makeTwin },
])('tiers of service in the $name bucket', ({ make }) => {
  const maker = make()
  afterAll(maker.close)

  const take = (gate: Gate, tier: ServiceTier, lane = LANE, tenant = 'a') =>
    gate.take(lane, [{ cost: CALL, tenant, tier }])

  /** Calls of a tier with this end; each has its own prompt. */
  async function end(
    { gate, clock }: Subject,
    lane: typeof LANE,
    tier: ServiceTier,
    count: number,
    how: Partial<Settlement>,
  ) {
    const permits: string[] = []
    for (let i = 0; i < count; i++, clock.now += 10) permits.push(...(await take(gate, tier, lane)).permits)
    expect(permits).toHaveLength(count)
    await gate.settle(
      lane,
      permits.map((permit, i) => ({
        ...{ permit, tier, actual: CALL, ...how },
        source: { tenant: 'a', prompt: `p${i}`, job: `j${i}` },
      })),
    )
  }

  const CAUSES = [
    { what: 'a 429', count: 1, how: { throttledMs: 30_000, throttledReason: 'full' }, reason: 'full' },
    { what: 'a run of 5xx', count: 5, how: { outcome: 'broken' as const }, reason: 'breaker_open' },
  ]
  const LANES = [
    { of: 'the lane', lane: LANE },
    { of: 'a lane with shared limits', lane: SHARED },
    { of: 'a source', lane: SOURCES },
  ]

  it.each(CAUSES.flatMap((cause) => LANES.map((lane) => ({ ...cause, ...lane }))))(
    '$what of $of shuts its own tier and no other',
    async ({ lane, count, how, reason }) => {
      for (const { shut, other } of PAIRS) {
        const subject = maker.create()
        const { gate, clock } = subject
        await end(subject, lane, shut, count, how)
        clock.now += 1000
        const refused = await take(gate, shut, lane)
        expect(refused).toMatchObject({ permits: [], waitingFor: 'provider_pause', otherTiersMay: true })
        expect(refused.waitMs).toBeGreaterThan(10_000)
        expect((await take(gate, other, lane)).permits).toHaveLength(1)

        const state = await gate.read(lane)
        const of = (tier: ServiceTier) =>
          tier === 'standard' ? state : state.tiers.find(({ name }) => name === tier)
        expect(of(shut)?.pausedReason ?? state.shared[0]?.pausedReason).toContain(reason)
        expect(of(other)?.pausedUntil ?? null).toBeNull()
        expect(of(other)?.breaker.state ?? 'closed').toBe('closed')
        expect(of(other)?.speed ?? 1).toBe(1)
      }
    },
  )

  it('lets later calls of other tiers leave where the first call of a take is of a shut one', async () => {
    const subject = maker.create()
    const { gate, clock } = subject
    await end(subject, LANE, 'flex', 1, { throttledMs: 30_000 })
    clock.now += 1000
    expect(
      await gate.take(LANE, [
        { cost: CALL, tier: 'flex' },
        { cost: CALL, tier: 'standard' },
      ]),
    ).toMatchObject({
      permits: [],
      otherTiersMay: true,
    })
    expect(
      await gate.take(LANE, [
        { cost: CALL, tier: 'standard' },
        { cost: CALL, tier: 'flex' },
      ]),
    ).toMatchObject({
      permits: [expect.any(String)],
      otherTiersMay: true,
    })
  })

  it('a pause by hand shuts every tier, and resuming opens every one', async () => {
    const subject = maker.create()
    const { gate, clock } = subject
    await end(subject, LANE, 'flex', 1, { throttledMs: 90_000, throttledReason: 'full' })
    await end(subject, LANE, 'priority', 5, { outcome: 'broken' })
    await end(subject, LANE, 'standard', 1, { throttledMs: 90_000, throttledReason: 'full' })
    await gate.pause(LANE, 60_000, 'by hand')
    clock.now += 1000
    for (const tier of SERVICE_TIERS) {
      const answer = await take(gate, tier, LANE, 'b')
      expect(answer).toMatchObject({ permits: [], waitingFor: 'provider_pause' })
      // A tier that no 429 holds back for longer waits for the pause by hand, as all tiers do.
      expect(answer.otherTiersMay).toBe(tier === 'priority' ? undefined : true)
    }
    const { tiers } = await gate.read(LANE)
    expect(tiers).toMatchObject([
      { name: 'flex', pausedReason: 'full' },
      { name: 'priority', pausedReason: 'by hand' },
    ])
    await gate.resume(LANE)
    clock.now += 1000
    for (const tier of SERVICE_TIERS) expect((await take(gate, tier)).permits).toHaveLength(1)
    expect((await gate.read(LANE)).tiers).toMatchObject([
      { name: 'flex', pausedUntil: null, breaker: { state: 'closed' } },
      { name: 'priority', pausedUntil: null, breaker: { state: 'closed' } },
    ])
  })

  it('an answer of one tier does not close the breaker of another, nor end its long wait', async () => {
    const subject = maker.create()
    const { gate, clock } = subject
    await end(subject, LANE, 'flex', 5, { outcome: 'broken' })
    await end(subject, LANE, 'priority', 1, { throttledMs: 90_000_000 })
    clock.now += 3_700_000
    await end(subject, LANE, 'standard', 5, { outcome: 'ok' })
    const first = await gate.take(LANE, [
      { cost: CALL, tenant: 'a', tier: 'flex' },
      { cost: CALL, tenant: 'a', tier: 'flex' },
    ])
    expect(first).toMatchObject({ permits: [expect.any(String)], othersMay: true })
    const asked = await gate.take(LANE, [
      { cost: CALL, tier: 'priority' },
      { cost: CALL, tier: 'priority' },
    ])
    expect(asked).toMatchObject({ permits: [expect.any(String)], otherTiersMay: true })
    await gate.settle(LANE, [
      { permit: first.permits[0]!, actual: CALL, outcome: 'ok', tier: 'flex' },
      { permit: asked.permits[0]!, actual: CALL, outcome: 'ok', tier: 'priority' },
    ])
    for (const tier of ['flex', 'priority'] as const) {
      const both = await gate.take(LANE, [
        { cost: CALL, tenant: 'a', tier },
        { cost: CALL, tenant: 'a', tier },
      ])
      expect(both.permits).toHaveLength(2)
    }
  })

  it('a call that was permitted for one tier and sent at another leaves no tier waiting for it', async () => {
    const subject = maker.create()
    const { gate, clock } = subject
    await end(subject, LANE, 'flex', 1, { throttledMs: 90_000_000 })
    clock.now += 3_700_000
    const [permit] = (await take(gate, 'flex')).permits
    expect((await take(gate, 'flex')).permits).toEqual([])
    await gate.settle(LANE, [{ permit: permit!, actual: CALL, outcome: 'ok', tier: 'standard' }])
    // Not answered at flex: one call at a time still asks.
    expect(
      (
        await gate.take(LANE, [
          { cost: CALL, tier: 'flex' },
          { cost: CALL, tier: 'flex' },
        ])
      ).permits,
    ).toHaveLength(1)
  })

  it('a tier that meets 429s is slowed down alone', async () => {
    const { gate, clock } = maker.create()
    const lane = laneWith({ requests_per_minute: 6000 })
    for (let wave = 0; wave < 8; wave++) {
      clock.now += 1000
      const { permits } = await gate.take(lane, [
        { cost: CALL, tier: 'flex' },
        { cost: CALL, tier: 'flex' },
        { cost: CALL, tier: 'flex' },
      ])
      await gate.settle(
        lane,
        permits.map((permit) => ({ permit, actual: CALL, throttledMs: 1, tier: 'flex' as const })),
      )
    }
    const { tiers, speed } = await gate.read(lane)
    expect(speed).toBe(1)
    expect(tiers[0]!.speed).toBeLessThan(0.5)
    const left = { flex: 0, standard: 0 }
    for (const until = clock.now + 2000; clock.now < until; clock.now += 10) {
      left.flex += (await take(gate, 'flex', lane)).permits.length
      left.standard += (await take(gate, 'standard', lane)).permits.length
    }
    // Together what the lane lets through (99 a second, and a burst), the slowed tier at most its share of it.
    expect(left.flex + left.standard).toBeGreaterThan(195)
    expect(left.flex).toBeLessThan(110)
    expect(left.flex).toBeGreaterThan(10)
  })

  it('believes no limit that another tier reports for itself', async () => {
    const { gate, clock } = maker.create()
    const lane = laneWith({ requests_per_minute: 600 })
    const report = async (tier: ServiceTier, limitRequests: number) => {
      clock.now += 20_000
      const [permit] = (await take(gate, tier, lane)).permits
      await gate.settle(lane, [
        { permit: permit!, actual: CALL, feedback: { limitRequests, remainingRequests: 5 }, tier },
      ])
      return gate.read(lane)
    }
    expect((await report('standard', 300)).learned.requests?.limit).toBe(300)
    const after = await report('flex', 6000)
    expect(after.learned.requests?.limit).toBe(300)
    expect((await report('standard', 600)).learned.requests).toBeNull()
  })

  it('believes what remains at another tier only where its limit is that of the lane', async () => {
    const { gate, clock } = maker.create()
    const lane = laneWith({ requests_per_minute: 60_000 })
    const report = async (tier: ServiceTier, limitRequests: number) => {
      clock.now += 20_000
      const [permit] = (await take(gate, tier, lane)).permits
      const feedback = { limitRequests, remainingRequests: 5 }
      await gate.settle(lane, [{ permit: permit!, actual: CALL, feedback, tier }])
      const { levels, learned } = await gate.read(lane)
      return { isLowered: levels.requests! < 10, learned: learned.requests?.limit ?? null }
    }
    await report('standard', 60_000)
    expect(await report('flex', 6000)).toEqual({ isLowered: false, learned: null })
    expect(await report('flex', 60_000)).toEqual({ isLowered: true, learned: null })
    expect(await report('standard', 30_000)).toEqual({ isLowered: true, learned: 30_000 })
    for (const tier of ['flex', 'priority'] as const) {
      expect(await report(tier, 60_000), tier).toEqual({ isLowered: false, learned: 30_000 })
      expect(await report(tier, 30_000), tier).toEqual({ isLowered: true, learned: 30_000 })
    }
  })

  it('a 429 at another tier says nothing of how the provider counts', async () => {
    const subject = maker.create()
    const { gate, clock } = subject
    const lane = laneWith({ requests_per_minute: 600, window_auto: true })
    for (let i = 0; i < 700; i++, clock.now += 10) await gate.take(lane, [{ cost: CALL }, { cost: CALL }])
    clock.now += 20_000
    expect((await gate.read(lane)).learnedWindow).toBe(10_000)
    for (const tier of ['flex', 'priority'] as const) {
      await end(subject, lane, tier, 1, { throttledMs: 1000 })
      const { learnedWindow, tiers } = await gate.read(lane)
      expect(learnedWindow).toBe(10_000)
      expect(tiers.find(({ name }) => name === tier)!.speed).toBeLessThan(1)
    }
    await end(subject, lane, 'standard', 1, { throttledMs: 1000 })
    expect((await gate.read(lane)).learnedWindow).toBe(1000)
  })
})

/** How a process of the release before handles the state: it knows no tiers, and keeps unknown members. */
const AS_BEFORE = `
local state = cmsgpack.unpack(redis.call('GET', KEYS[1]))
if ARGV[1] == 'pause' then state.pausedUntil, state.pausedReason = state.last + tonumber(ARGV[2]), 'by an earlier release' end
if ARGV[1] == 'strip' then state.tiers, state.heldUntil, state.heldReason, state.ownUntil = nil, nil, nil, nil end
redis.call('SET', KEYS[1], cmsgpack.pack(state))`

describe('tiers of service beside processes of the release before', () => {
  it.each([
    { what: 'a pause that they set', script: ['pause', 60_000], shut: SERVICE_TIERS },
    { what: 'a pause in a state that knows no tiers', script: ['strip', 0], shut: SERVICE_TIERS },
  ])('$what holds every tier', async ({ script, shut }) => {
    const place = testRedis()
    const redis = createRedis({ ...place, role: 'bullmq', name: 'test-tiers' })
    onTestFinished(() => redis.disconnect())
    let now = 0
    // A call is due at each look.
    const gate = createGate({ redis, prefix: place.prefix, now: () => ++now * 10 })
    const [permit] = (await gate.take(LANE, [{ cost: CALL }])).permits
    await gate.settle(LANE, [{ permit: permit!, actual: CALL, throttledMs: 30_000 }])
    expect((await gate.take(LANE, [{ cost: CALL, tier: 'flex' }])).permits).toHaveLength(1)
    await redis.eval(AS_BEFORE, 1, `${laneRoot(place.prefix, LANE.id)}bucket`, ...script)
    for (const tier of shut)
      expect((await gate.take(LANE, [{ cost: CALL, tier }])).waitingFor, tier).toBe('provider_pause')
    await gate.resume(LANE)
    for (const tier of SERVICE_TIERS) {
      expect((await gate.take(LANE, [{ cost: CALL, tier }])).permits, tier).toHaveLength(1)
    }
  })
})
