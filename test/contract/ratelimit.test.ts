import { afterAll, describe, expect, it } from 'vitest'
import type { Lane } from '../../config/lanes.ts'
import type { Cost, Gate, TakeAnswer } from '../../ratelimit/gate.ts'
import { callOf, laneWith, makeLua, makeTwin } from './ratelimit-subjects.ts'

const CALL = callOf(1000)

describe.each([
  { name: 'Lua', make: makeLua },
  { name: 'twin', make: makeTwin },
])('the $name bucket', ({ make }) => {
  const maker = make()
  const { create } = maker
  afterAll(maker.close)

  /** Takes single calls until one is refused; answers the permits and the refusal. */
  async function drain(gate: Gate, lane: Lane, cost: Cost = CALL) {
    const permits: string[] = []
    for (;;) {
      const answer = await gate.take(lane, [{ cost }])
      if (answer.permits.length === 0) return { permits, refusal: answer }
      permits.push(...answer.permits)
    }
  }

  describe('pacing', () => {
    it('lets a lone call on a fresh lane leave at once, however slow the lane', async () => {
      const { gate } = create()
      const answer = await gate.take(laneWith({ requests_per_minute: 1, tokens_per_minute: 1000 }), [
        { cost: CALL },
      ])
      expect(answer).toEqual({ permits: [expect.any(String)], waitMs: 0, waitingFor: null, never: false })
    })

    it('lets the next call leave when the refill has paid for the one before, and not a millisecond earlier', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 60, headroom: 1 })
      await gate.take(lane, [{ cost: CALL }])
      expect(await gate.take(lane, [{ cost: CALL }])).toMatchObject({
        permits: [],
        waitMs: 1000,
        waitingFor: 'requests',
      })
      clock.now += 999
      expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBe(1)
      clock.now += 1
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
    })

    it('saves up no more than 100 ms of the rate while nobody takes', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 6000, headroom: 1 })
      await gate.take(lane, [{ cost: CALL }])
      clock.now += 3_600_000
      expect((await drain(gate, lane)).permits).toHaveLength(11) // 10 in 100 ms, and one on credit.
    })

    it.each([
      { what: 'a second of the rate', window: 60_000, afterMs: 5000, calls: 101 },
      { what: 'a tenth of a short window', window: 5000, afterMs: 5000, calls: 51 },
      { what: 'the burst alone once no limit holds anything back', window: 60_000, afterMs: 5100, calls: 11 },
    ])('saves up $what while another limit holds the calls back', async ({ window, afterMs, calls }) => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 6000, tokens_per_minute: 60_000, headroom: 1, window })
      await gate.take(lane, [{ cost: callOf(5000) }])
      for (const end = clock.now + afterMs; clock.now < end; clock.now += 50) await gate.read(lane)
      expect((await drain(gate, lane, callOf(0))).permits).toHaveLength(calls)
    })

    it('admits a call larger than the burst on credit, and waits until that is paid', async () => {
      const { gate } = create()
      const lane = laneWith({ tokens_per_minute: 60_000, headroom: 1 })
      expect((await gate.take(lane, [{ cost: callOf(30_000) }])).permits).toHaveLength(1)
      expect(await gate.take(lane, [{ cost: callOf(1) }])).toMatchObject({
        waitMs: 30_000,
        waitingFor: 'tokens',
      })
    })

    it('waits for the dimension that needs longest', async () => {
      const { gate } = create()
      const lane = laneWith({
        requests_per_minute: 60,
        tokens_per_minute: 6000,
        output_tokens_per_minute: 600,
        headroom: 1,
      })
      await gate.take(lane, [{ cost: callOf(400) }])
      expect(await gate.take(lane, [{ cost: callOf(400) }])).toMatchObject({
        waitMs: 10_000,
        waitingFor: 'tokens',
      })
    })

    it('grants the longest prefix that passes and says what the next one waits for', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 6000, tokens_per_minute: 60_000, headroom: 1 })
      await gate.take(lane, [{ cost: callOf(1) }])
      clock.now += 1000
      const answer = await gate.take(lane, [
        { cost: callOf(40) },
        { cost: callOf(50) },
        { cost: callOf(500) },
        { cost: callOf(10) },
      ])
      expect(answer.permits).toHaveLength(3)
      expect(new Set(answer.permits).size).toBe(3)
      expect(answer).toMatchObject({ waitMs: 490, waitingFor: 'tokens', never: false })
    })

    it('books nothing in any dimension for a call that one dimension refuses', async () => {
      const { gate } = create()
      const lane = laneWith({ requests_per_minute: 60, tokens_per_minute: 60_000 })
      await gate.take(lane, [{ cost: CALL }])
      const before = await gate.read(lane)
      await gate.take(lane, [{ cost: CALL }])
      expect(await gate.read(lane)).toEqual(before)
    })

    it('does not hold back a lane without limits', async () => {
      const { gate } = create()
      const lane = laneWith({})
      const answer = await gate.take(
        lane,
        Array.from({ length: 500 }, () => ({ cost: callOf(1_000_000) })),
      )
      expect(answer.permits).toHaveLength(500)
      expect((await gate.read(lane)).levels).toEqual({
        requests: null,
        tokens: null,
        inputTokens: null,
        outputTokens: null,
      })
    })

    it('does not ask a dimension of which a call needs nothing', async () => {
      const { gate } = create()
      const lane = laneWith({ output_tokens_per_minute: 60 })
      const embedding: Cost = { requests: 1, tokens: 50, inputTokens: 50, outputTokens: 0 }
      await gate.take(lane, [{ cost: callOf(240) }])
      expect((await gate.take(lane, [{ cost: embedding }])).permits).toHaveLength(1)
      expect((await gate.take(lane, [{ cost: callOf(4) }])).waitingFor).toBe('tokens')
    })

    it('applies a change of the limits at the next take', async () => {
      const { gate, clock } = create()
      await gate.take(laneWith({ requests_per_minute: 60, headroom: 1 }), [{ cost: CALL }])
      expect(
        (await gate.take(laneWith({ requests_per_minute: 600, headroom: 1 }), [{ cost: CALL }])).waitMs,
      ).toBe(100)
      clock.now += 100
      expect(
        (await gate.take(laneWith({ requests_per_minute: 600, headroom: 1 }), [{ cost: CALL }])).permits,
      ).toHaveLength(1)
    })

    it('refuses invalid costs', async () => {
      const { gate } = create()
      await expect(gate.take(laneWith({}), [{ cost: { ...CALL, tokens: Number.NaN } }])).rejects.toThrow(
        RangeError,
      )
      await expect(gate.take(laneWith({}), [{ cost: { ...CALL, requests: -1 } }])).rejects.toThrow(
        'not a cost',
      )
    })

    it('answers no costs with no permits', async () => {
      const { gate } = create()
      expect(await gate.take(laneWith({ requests_per_minute: 1 }), [])).toEqual({
        permits: [],
        waitMs: 0,
        waitingFor: null,
        never: false,
      })
    })
  })

  describe('the window', () => {
    it('never admits a call larger than the whole window', async () => {
      const { gate } = create()
      const answer: TakeAnswer = { permits: [], waitMs: Infinity, waitingFor: 'tokens', never: true }
      expect(await gate.take(laneWith({ tokens_per_minute: 999 }), [{ cost: CALL }])).toEqual(answer)
      expect(
        await gate.take(laneWith({ tokens_per_minute: 30_000, window: 1000 }), [{ cost: CALL }]),
      ).toEqual(answer)
      expect(
        await gate.take(laneWith({ requests_per_day: 1 }), [{ cost: { ...CALL, requests: 2 } }]),
      ).toMatchObject({
        waitingFor: 'requests',
        never: true,
      })
      expect((await gate.take(laneWith({ tokens_per_minute: 1000 }), [{ cost: CALL }])).never).toBe(false)
    })

    it('lets one request through in a window too short for one', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 30, window: 1000, headroom: 1 })
      for (let taken = 0; taken < 5; taken++) {
        expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
        expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBe(2000)
        clock.now += 2000
      }
    })

    it('tells exactly when enough of the window will have passed', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ tokens_per_minute: 10_000 })
      await gate.take(lane, [{ cost: callOf(6000) }])
      clock.now += 50_000
      const { waitMs, permits } = await gate.take(lane, [{ cost: callOf(6000) }])
      expect(permits).toHaveLength(0)
      expect(waitMs).toBeGreaterThanOrEqual(10_500)
      expect(waitMs).toBeLessThanOrEqual(10_600)
      clock.now += waitMs - 1
      expect((await gate.take(lane, [{ cost: callOf(6000) }])).waitMs).toBe(1)
      clock.now += 1
      expect((await gate.take(lane, [{ cost: callOf(6000) }])).permits).toHaveLength(1)
    })

    it('holds requests a day over every 24 hours, and paces nothing within them', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_day: 5 })
      expect((await drain(gate, lane)).permits).toHaveLength(5)
      clock.now += 23 * 3_600_000
      const refusal = await gate.take(lane, [{ cost: CALL }])
      expect(refusal).toMatchObject({ permits: [], waitingFor: 'requests' })
      clock.now += refusal.waitMs
      expect((await drain(gate, lane)).permits).toHaveLength(5)
    })

    it('drops everything in one step after a long idle', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 600 })
      for (let i = 0; i < 100; i++) {
        await gate.take(lane, [{ cost: CALL }])
        clock.now += 200
      }
      expect((await gate.read(lane)).used.requests).toBe(100)
      clock.now += 40_700
      expect((await gate.read(lane)).used.requests).toBeLessThan(100)
      clock.now += 20_000
      expect((await gate.read(lane)).used.requests).toBe(0)
    })

    it('keeps counting what was taken when the window changes', async () => {
      const { gate, clock } = create()
      await gate.take(laneWith({ tokens_per_minute: 60_000 }), [{ cost: callOf(50_000) }])
      clock.now += 1000
      const lane = laneWith({ tokens_per_minute: 60_000, window: 30_000 })
      expect((await gate.read(lane)).used.tokens).toBe(50_000)
      clock.now += 30_350
      expect((await gate.read(lane)).used.tokens).toBe(0)
    })

    const SPANS = [60_000, 1000].map((window) => laneWith({ requests_per_minute: 60_000, window }))

    it('keeps the time of each call when the window changes', async () => {
      for (const [from, to] of [SPANS, SPANS.toReversed()] as [Lane, Lane][]) {
        const { gate, clock } = create()
        // The shorter window no longer holds this one.
        await gate.take(from, [{ cost: CALL }])
        clock.now += 10_000
        for (let i = 0; i < 3; i++, clock.now += 300) await gate.take(from, [{ cost: CALL }])
        const used: number[] = []
        for (let i = 0; i < 5; i++, clock.now += 300) used.push((await gate.read(to)).used.requests)
        expect(used).toEqual(to.limits.window === 1000 ? [3, 2, 1, 0, 0] : [3, 3, 3, 3, 3])
        clock.now += 59_500
        expect((await gate.read(to)).used.requests).toBe(0)
      }
    })

    it('drops in time what was taken while processes use two windows alternately', async () => {
      const { gate, clock } = create()
      let granted = 0
      for (let i = 0; i < 300; i++, clock.now += 17) {
        granted += (await gate.take(SPANS[i % 2]!, Array(10).fill({ cost: CALL }))).permits.length
        for (const lane of SPANS) expect((await gate.read(lane)).used.requests).toBeLessThan(750)
      }
      // No pace was held back: 588 a second of 990.
      expect(granted).toBeGreaterThan(2950)
    })

    it('gives a large call its turn among small ones, and small ones theirs in between', async () => {
      const { gate, clock } = create()
      const lane = laneWith({ tokens_per_minute: 60_000, headroom: 1 })
      const large = callOf(20_000)
      let wakeAt = 0
      let passedAt: number | null = null
      const smallsBetween: number[] = []
      const start = clock.now
      while (clock.now < start + 180_000 && passedAt === null) {
        const time = clock.now - start
        const small = await gate.take(lane, [{ cost: callOf(100) }])
        if (time >= 70_000) {
          if (small.permits.length > 0) smallsBetween.push(time)
          if (time >= wakeAt) {
            const answer = await gate.take(lane, [{ cost: large }])
            if (answer.permits.length > 0) passedAt = time
            wakeAt = time + answer.waitMs
          }
        }
        clock.now += 20
      }
      expect(passedAt).not.toBeNull()
      expect(passedAt! - 70_000).toBeLessThan(60_000)
      expect(smallsBetween.length).toBeGreaterThan(100)
    })
  })

  describe('concurrency', () => {
    it('gives no more permits than calls may run, and one for each that ends', async () => {
      const { gate } = create()
      const lane = laneWith({ max_concurrency: 3 })
      const { permits, refusal } = await drain(gate, lane)
      expect(permits).toHaveLength(3)
      expect(refusal).toMatchObject({ waitingFor: 'concurrency', waitMs: 50 })
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL }])
      expect((await drain(gate, lane)).permits).toHaveLength(1)
      expect((await gate.read(lane)).inFlight).toBe(3)
    })

    it('counts within one take as well', async () => {
      const { gate } = create()
      const lane = laneWith({ max_concurrency: 3 })
      expect(
        (
          await gate.take(lane, [
            { cost: CALL },
            { cost: CALL },
            { cost: CALL },
            { cost: CALL },
            { cost: CALL },
          ])
        ).permits,
      ).toHaveLength(3)
    })

    it('frees the slot of a taker that died when its lease ends', async () => {
      const { gate, clock } = create({ leaseMs: 5000 })
      const lane = laneWith({ max_concurrency: 1 })
      await gate.take(lane, [{ cost: CALL }])
      clock.now += 4980
      expect(await gate.take(lane, [{ cost: CALL }])).toMatchObject({ permits: [], waitMs: 20 })
      clock.now += 20
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
    })

    it('keeps the slot of a call whose lease is renewed, and restores it after a lapse', async () => {
      const { gate, clock } = create({ leaseMs: 5000 })
      const lane = laneWith({ max_concurrency: 1 })
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      for (let i = 0; i < 4; i++) {
        clock.now += 4000
        await gate.renew(lane, permits)
      }
      expect((await gate.take(lane, [{ cost: CALL }])).waitingFor).toBe('concurrency')
      clock.now += 6000
      expect((await gate.read(lane)).inFlight).toBe(0)
      await gate.renew(lane, permits)
      expect((await gate.read(lane)).inFlight).toBe(1)
    })

    it('keeps the slots of all calls whose leases are renewed together', async () => {
      const { gate, clock } = create({ leaseMs: 5000 })
      const lane = laneWith({ max_concurrency: 3 })
      const { permits } = await gate.take(lane, [{ cost: CALL }, { cost: CALL }, { cost: CALL }])
      clock.now += 4000
      await gate.renew(lane, permits)
      clock.now += 4000
      expect((await gate.read(lane)).inFlight).toBe(3)
    })

    it('keeps the slot of a call when its lane is given up in between', async () => {
      const { gate, clock } = create({ leaseMs: 300_000 })
      const lane = laneWith({ max_concurrency: 1 })
      await gate.take(lane, [{ cost: CALL }])
      // None of it counts in the window any more.
      clock.now += 200_000
      await gate.forget(lane)
      expect((await gate.read(lane)).inFlight).toBe(1)
    })

    it('does not bring a settled permit back to life', async () => {
      const { gate } = create()
      const lane = laneWith({ max_concurrency: 1 })
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL }])
      await gate.renew(lane, permits)
      expect((await gate.read(lane)).inFlight).toBe(0)
    })
  })

  describe('settling', () => {
    const lane = laneWith({ requests_per_minute: 60, tokens_per_minute: 60_000, headroom: 1 })

    it('refunds what the call did not use, to the level and to the window', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: callOf(30_000) }])
      clock.now += 500
      await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(10_000) }])
      const state = await gate.read(lane)
      expect(state.used.tokens).toBe(10_000)
      expect(state.levels.tokens).toBeCloseTo(-9500, 6)
      expect(state.refunded.tokens).toBe(20_000)
      expect(state.used.requests).toBe(1)
    })

    it('charges what the call used beyond its estimate', async () => {
      const { gate } = create()
      const { permits } = await gate.take(lane, [{ cost: callOf(1000) }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(4000) }])
      const state = await gate.read(lane)
      expect(state.used.tokens).toBe(4000)
      expect(state.levels.tokens).toBe(-4000)
      expect(state.taken.tokens).toBe(4000)
    })

    it('gives everything back for a call that was never sent', async () => {
      const { gate } = create()
      const daily = laneWith({ ...lane.limits, requests_per_day: 1 })
      const { permits } = await gate.take(daily, [{ cost: CALL }])
      await gate.settle(daily, [{ permit: permits[0]!, actual: null }])
      const state = await gate.read(daily)
      expect(state.used).toEqual({ requests: 0, tokens: 0, inputTokens: 0, outputTokens: 0 })
      expect(state.usedToday).toBe(0)
      expect((await gate.take(daily, [{ cost: CALL }])).permits).toHaveLength(1)
    })

    it('never lifts a level above the burst', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: callOf(1000) }])
      clock.now += 60_000
      await gate.settle(lane, [{ permit: permits[0]!, actual: null }])
      expect((await gate.read(lane)).levels.tokens).toBeCloseTo(100, 6)
    })

    it('subtracts a refund from the slice that it was taken in', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: callOf(30_000) }])
      clock.now += 59_000
      await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(10_000) }])
      expect((await gate.read(lane)).used.tokens).toBe(10_000)
      clock.now += 1200
      expect((await gate.read(lane)).used.tokens).toBe(0)
      expect((await gate.take(lane, [{ cost: callOf(50_000) }])).permits).toHaveLength(1)
    })

    it('leaves the window unchanged when the taken amount has left it', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: callOf(30_000) }])
      clock.now += 61_000
      await gate.take(lane, [{ cost: callOf(5000) }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: callOf(10_000) }])
      expect((await gate.read(lane)).used.tokens).toBe(5000)
    })

    it('settles a permit once, also within one call', async () => {
      const { gate } = create()
      const { permits } = await gate.take(lane, [{ cost: callOf(10_000) }])
      const settlement = { permit: permits[0]!, actual: callOf(4000), throttledMs: 100 }
      await gate.settle(lane, [settlement, settlement])
      const once = await gate.read(lane)
      expect(once.used.tokens).toBe(4000)
      expect(once.throttled).toBe(1)
      await gate.settle(lane, [settlement])
      expect(await gate.read(lane)).toEqual(once)
    })

    it('changes nothing for an unknown permit', async () => {
      const { gate } = create()
      const before = await gate.read(lane)
      await gate.settle(lane, [{ permit: '0-0', actual: null, throttledMs: 1000 }])
      expect(await gate.read(lane)).toEqual(before)
    })

    it('still corrects the tokens of a call whose lease has ended, for an hour', async () => {
      const { gate, clock } = create({ leaseMs: 1000 })
      const first = await gate.take(lane, [{ cost: callOf(1000) }])
      clock.now += 50_000
      await gate.settle(lane, [{ permit: first.permits[0]!, actual: callOf(100) }])
      expect((await gate.read(lane)).refunded.tokens).toBe(900)
      const second = await gate.take(lane, [{ cost: callOf(1000) }])
      clock.now += 3_602_000
      await gate.take(lane, [{ cost: callOf(1) }])
      await gate.settle(lane, [{ permit: second.permits[0]!, actual: callOf(100) }])
      expect((await gate.read(lane)).refunded.tokens).toBe(900)
    })
  })

  describe('feedback', () => {
    const lane = laneWith({ requests_per_minute: 600, tokens_per_minute: 600_000, headroom: 1 })

    it('waits for the provider when that has no room left', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      clock.now += 200
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, feedback: { remainingRequests: 0 } }])
      expect(await gate.take(lane, [{ cost: CALL }])).toMatchObject({ waitMs: 100, waitingFor: 'requests' })
      clock.now += 100
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
    })

    it('counts what has left since the call that brought the report', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      for (let i = 0; i < 4; i++) {
        clock.now += 100
        await gate.take(lane, [{ cost: CALL }])
      }
      clock.now += 200
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, feedback: { remainingTokens: 2000 } }])
      // 2000 were left, 4000 have gone since, and the next call needs 1000.
      expect((await gate.read(lane)).levels.tokens).toBe(2000 - 4000 - 1000)
    })

    it('does not raise the level when there is plenty of room', async () => {
      const { gate } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      const before = await gate.read(lane)
      await gate.settle(lane, [
        { permit: permits[0]!, actual: CALL, feedback: { remainingRequests: 599, remainingTokens: 599_000 } },
      ])
      expect((await gate.read(lane)).levels).toEqual(before.levels)
    })

    it('ignores reports older than the last one', async () => {
      const { gate, clock } = create()
      const older = await gate.take(lane, [{ cost: CALL }])
      clock.now += 100
      const newer = await gate.take(lane, [{ cost: CALL }])
      clock.now += 1000
      await gate.settle(lane, [
        { permit: newer.permits[0]!, actual: CALL, feedback: { remainingTokens: 500_000 } },
        {
          permit: older.permits[0]!,
          actual: CALL,
          feedback: { remainingTokens: 0, limitRequests: 10 },
        },
      ])
      const state = await gate.read(lane)
      expect(state.levels.tokens).toBeGreaterThan(0)
      expect(state.learned.requests).toBeNull()
    })

    it('learns a limit lower than the configured one, and drops it when it is lifted', async () => {
      const { gate, clock } = create()
      const settleWith = async (limitRequests: number) => {
        clock.now += 1000
        const { permits } = await gate.take(lane, [{ cost: CALL }])
        await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, feedback: { limitRequests } }])
      }
      await settleWith(60)
      const state = await gate.read(lane)
      expect(state.learned).toEqual({ requests: { limit: 60, at: clock.now }, tokens: null })
      expect(state.rates.requests).toBeCloseTo(60, 9)
      expect(state.capacities.requests).toBe(60)
      expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBe(1000)
      await settleWith(600)
      expect((await gate.read(lane)).learned.requests).toBeNull()
      expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBeLessThanOrEqual(100)
    })

    it('ignores reports that are no numbers', async () => {
      const { gate } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      const before = await gate.read(lane)
      const feedback = { remainingRequests: Number.NaN, limitTokens: Number.NaN }
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, feedback, throttledMs: Number.NaN }])
      const state = await gate.read(lane)
      expect(state.levels).toEqual(before.levels)
      expect(state.learned).toEqual(before.learned)
      expect(state.speed).toBe(0.9)
    })

    it('learns nothing for a dimension without a configured limit, or from a limit of zero', async () => {
      const { gate } = create()
      const free = laneWith({ requests_per_minute: 600 })
      const { permits } = await gate.take(free, [{ cost: CALL }])
      const feedback = { limitTokens: 10, remainingTokens: 0, limitRequests: 0 }
      await gate.settle(free, [{ permit: permits[0]!, actual: CALL, feedback }])
      const state = await gate.read(free)
      expect(state.learned).toEqual({ requests: null, tokens: null })
      expect(state.levels.tokens).toBeNull()
    })
  })

  describe('a 429', () => {
    const lane = laneWith({ requests_per_minute: 600, headroom: 1 })

    it('pauses the lane for as long as the provider asks, says why and counts it', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      clock.now += 1000
      await gate.settle(lane, [
        { permit: permits[0]!, actual: CALL, throttledMs: 5000, throttledReason: 'rate_limit' },
      ])
      expect(await gate.take(lane, [{ cost: CALL }])).toMatchObject({
        waitMs: 5000,
        waitingFor: 'provider_pause',
      })
      expect(await gate.read(lane)).toMatchObject({
        pausedUntil: clock.now + 5000,
        pausedReason: 'rate_limit',
        throttled: 1,
      })
      clock.now += 5000
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
      expect(await gate.read(lane)).toMatchObject({ pausedUntil: null, pausedReason: null })
    })

    it('adds up to a tenth to the pause, at random', async () => {
      const { gate } = create({ random: () => 0.5 })
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, throttledMs: 10_000 }])
      expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBe(10_500)
    })

    it('cuts the rate once for all calls of the same wave', async () => {
      const { gate, clock } = create()
      const wave: string[] = []
      for (let i = 0; i < 5; i++) {
        wave.push(...(await gate.take(lane, [{ cost: CALL }])).permits)
        clock.now += 100
      }
      for (const permit of wave) {
        await gate.settle(lane, [{ permit, actual: CALL, throttledMs: 1000 }])
        clock.now += 10
      }
      expect(await gate.read(lane)).toMatchObject({ speed: 0.7, throttled: 5 })
      clock.now += 1000
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, throttledMs: 1000 }])
      expect((await gate.read(lane)).speed).toBeCloseTo(0.49, 2)
    })

    it('returns to the full rate in a straight line: at once after a stray one, over a minute after a wave', async () => {
      for (const [count, speeds, stepMs] of [
        [1, [0.9, 0.95, 1, 1], 2500],
        [4, [0.7, 0.85, 1, 1], 30_000],
      ] as const) {
        const { gate, clock } = create()
        const wave: string[] = []
        for (let i = 0; i < count; i++) {
          wave.push(...(await gate.take(lane, [{ cost: CALL }])).permits)
          clock.now += 100
        }
        await gate.settle(
          lane,
          wave.map((permit) => ({ permit, actual: CALL, throttledMs: 1000 })),
        )
        clock.now += 1000
        for (const speed of speeds) {
          expect((await gate.read(lane)).speed).toBeCloseTo(speed, 9)
          clock.now += stepMs
        }
      }
    })

    it('gives exact waits during recovery', async () => {
      const { gate, clock } = create()
      const slow = laneWith({ requests_per_minute: 6, headroom: 1 })
      const { permits } = await gate.take(slow, [{ cost: CALL }])
      await gate.settle(slow, [{ permit: permits[0]!, actual: CALL, throttledMs: 1000 }])
      for (let i = 0; i < 8; i++) {
        const { waitMs } = await gate.take(slow, [{ cost: CALL }])
        clock.now += waitMs - 1
        expect((await gate.take(slow, [{ cost: CALL }])).waitMs).toBe(1)
        clock.now += 1
        expect((await gate.take(slow, [{ cost: CALL }])).permits).toHaveLength(1)
      }
    })

    it.each([
      { what: 'soon after a long pause', afterMs: 5000, waves: 2 },
      { what: 'again and again, long after each pause', afterMs: 30_000, waves: 20 },
    ])('cuts the rate also where the window is learned: $what', async ({ afterMs, waves }) => {
      const { gate, clock } = create()
      const lane = laneWith({ requests_per_minute: 600, window_auto: true })
      for (let wave = 0; wave < waves; wave++) {
        expect((await gate.read(lane)).speed).toBe(1)
        const [permit] = (await gate.take(lane, [{ cost: CALL }])).permits
        await gate.settle(lane, [{ permit: permit!, actual: CALL, throttledMs: 20_000 }])
        if ((await gate.read(lane)).speed < 1) return expect(wave).toBeGreaterThan(0)
        clock.now += 20_000 + afterMs
      }
      expect.unreachable('no wave cut the rate')
    })
  })

  describe('a wait of more than an hour', () => {
    const lane = laneWith({ requests_per_minute: 6000, headroom: 1, max_concurrency: 50 })
    const HOUR = 3_600_000

    async function asked(throttledMs: number) {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, throttledMs }])
      return { gate, clock }
    }
    const many = Array(5).fill({ cost: CALL })

    it('is over after an hour for one call, and for all once that is answered', async () => {
      const { gate, clock } = await asked(24 * HOUR)
      expect((await gate.take(lane, many)).waitMs).toBe(HOUR + 1)
      clock.now += HOUR + 1
      const probe = await gate.take(lane, many)
      expect(probe.permits).toHaveLength(1)
      expect(probe).toMatchObject({ waitingFor: 'provider_pause', waitMs: 250 })
      clock.now += 1000
      expect((await gate.take(lane, many)).permits).toHaveLength(0)
      await gate.settle(lane, [{ permit: probe.permits[0]!, actual: CALL, outcome: 'ok' }])
      expect((await gate.take(lane, many)).permits).toHaveLength(5)
    })

    it('begins again where the one call meets it again', async () => {
      const { gate, clock } = await asked(24 * HOUR)
      for (let hour = 0; hour < 3; hour++) {
        clock.now += HOUR + 1
        const { permits } = await gate.take(lane, many)
        expect(permits).toHaveLength(1)
        await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, throttledMs: (23 - hour) * HOUR }])
        expect((await gate.take(lane, many)).permits).toHaveLength(0)
      }
    })

    it('lets another call ask where the first was lost, broke or was never sent', async () => {
      const { gate, clock } = await asked(24 * HOUR)
      clock.now += HOUR + 1
      const endings = [
        () => {
          clock.now += 30_001
        },
        (permit: string) => gate.settle(lane, [{ permit, actual: CALL, outcome: 'broken' }]),
        (permit: string) => gate.settle(lane, [{ permit, actual: null }]),
      ]
      for (const end of endings) {
        const { permits } = await gate.take(lane, many)
        expect(permits).toHaveLength(1)
        await end(permits[0]!)
      }
      expect((await gate.take(lane, many)).permits).toHaveLength(1)
      await gate.resume(lane)
      expect((await gate.take(lane, many)).permits).toHaveLength(5)
    })

    it('a wait of exactly an hour is kept, and then all calls go', async () => {
      const { gate, clock } = await asked(HOUR)
      clock.now += HOUR
      expect((await gate.take(lane, many)).permits).toHaveLength(5)
    })
  })

  describe('pausing by hand', () => {
    const lane = laneWith({ requests_per_minute: 600 })

    it('lets nothing leave until it is resumed', async () => {
      const { gate, clock } = create()
      await gate.pause(lane, Number.POSITIVE_INFINITY, 'maintenance')
      clock.now += 30 * 86_400_000
      expect(await gate.take(lane, [{ cost: CALL }])).toMatchObject({
        permits: [],
        waitingFor: 'provider_pause',
      })
      expect((await gate.read(lane)).pausedReason).toBe('maintenance')
      await gate.resume(lane)
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
    })

    it('begins recovery from a 429 whose pause is ended', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, throttledMs: Number.POSITIVE_INFINITY }])
      clock.now += 10_000
      expect((await gate.take(lane, [{ cost: CALL }])).waitingFor).toBe('provider_pause')
      await gate.resume(lane)
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
      clock.now += 2500
      expect((await gate.read(lane)).speed).toBeCloseTo(0.95, 9)
    })

    it('is not cut short by a shorter pause', async () => {
      const { gate, clock } = create()
      const { permits } = await gate.take(lane, [{ cost: CALL }])
      await gate.pause(lane, 60_000, 'by hand')
      await gate.settle(lane, [{ permit: permits[0]!, actual: CALL, throttledMs: 1000 }])
      expect(await gate.read(lane)).toMatchObject({
        pausedUntil: clock.now + 60_000,
        pausedReason: 'by hand',
      })
    })
  })

  describe('the clock', () => {
    const lane = laneWith({ requests_per_minute: 60, headroom: 1 })

    it('goes on when the server clock falls back, and neither admits more nor stalls', async () => {
      const { gate, clock } = create()
      await gate.take(lane, [{ cost: CALL }])
      clock.now -= 3_600_000
      expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBe(1000)
      clock.now += 1000
      expect((await gate.take(lane, [{ cost: CALL }])).permits).toHaveLength(1)
    })

    it('refills no more than the burst when the server clock jumps ahead', async () => {
      const { gate, clock } = create()
      await gate.take(lane, [{ cost: CALL }])
      clock.now += 3_600_000
      expect((await drain(gate, lane)).permits).toHaveLength(1)
      clock.now -= 3_600_000
      expect((await gate.take(lane, [{ cost: CALL }])).waitMs).toBe(900)
    })

    it('tells times on the clock of the server, however that is set', async () => {
      const { gate, clock } = create()
      await gate.take(lane, [{ cost: CALL }])
      clock.now -= 3_600_000
      await gate.pause(lane, 1000, 'by hand')
      expect(await gate.read(lane)).toMatchObject({ at: clock.now, pausedUntil: clock.now + 1000 })
    })
  })

  it('keeps lanes separate', async () => {
    const { gate } = create()
    const lane = laneWith({ requests_per_minute: 1 })
    await gate.take(lane, [{ cost: CALL }])
    expect((await gate.take({ ...lane, id: 'provider/other' }, [{ cost: CALL }])).permits).toHaveLength(1)
  })
})
