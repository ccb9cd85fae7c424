import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Lane } from '../../../config/lanes.ts'
import { costOf, type Prefetched, planCalls } from '../../../workers/plan.ts'
import { heldEntry } from './held.ts'

const lane: Lane = {
  id: 'sim/embed',
  provider: 'sim',
  model: 'embed',
  kind: 'openai-compatible',
  onUnsupported: 'refuse',
  limits: { window: 60_000, headroom: 1 },
  timeout: 1000,
  retry: { max_attempts: 3, base: 1, cap: 1 },
  price: { input: 0, output: 0 },
  coalesce: { max_inputs: 4, max_tokens: 100, max_wait: 20 },
}
const alone: Lane = { ...lane, coalesce: null }

let count = 0
function entry(cost: Parameters<typeof heldEntry>[1] = {}, since = 0): Prefetched {
  return { held: heldEntry(`job_${++count}`, { coalesceKey: 'k', ...cost }), since }
}
const idsOf = (plan: ReturnType<typeof planCalls>) =>
  plan.ready.map((call) => call.held.map((held) => held.id))
const ids = (hand: Prefetched[]) => hand.map((one) => one.held.id)

describe('planCalls', () => {
  it('sends each entry alone on a lane that does not coalesce, at once', () => {
    const hand = [entry(), entry()]
    const plan = planCalls(hand, alone, 0, 0)
    expect(idsOf(plan)).toEqual(ids(hand).map((id) => [id]))
    expect(plan.readyAt).toBeNull()
  })

  it('lets a request that is not full wait for max_wait after its first entry', () => {
    const hand = [entry({}, 100), entry({}, 110)]
    expect(planCalls(hand, lane, 0, 119)).toEqual({ ready: [], readyAt: 120 })
    expect(idsOf(planCalls(hand, lane, 0, 120))).toEqual([ids(hand)])
  })

  it('lets it gather ten times as long while another request of the lane is under way', () => {
    const hand = [entry({}, 100)]
    expect(planCalls(hand, lane, 1, 299)).toEqual({ ready: [], readyAt: 300 })
    expect(idsOf(planCalls(hand, lane, 1, 300))).toEqual([ids(hand)])
  })

  it('sends a request at once that is full by inputs', () => {
    const hand = [entry({ inputs: 3 }), entry({ inputs: 1 }), entry()]
    expect(idsOf(planCalls(hand, lane, 0, 0))).toEqual([ids(hand).slice(0, 2)])
  })

  it('sends a request at once that is full by tokens', () => {
    const hand = [entry({ tokens: 60 }), entry({ tokens: 60 })]
    expect(idsOf(planCalls(hand, lane, 0, 0))).toEqual([ids(hand).slice(0, 1)])
  })

  it('keeps tenants apart while the breaker asks whose a request is', () => {
    const hand = [entry(), entry()].map((one, index) => ({
      ...one,
      held: { ...one.held, tenant: `tenant ${index}` },
    }))
    const [one, other] = ids(hand)
    expect(idsOf(planCalls(hand, lane, 0, 1000))).toEqual([[one, other]])
    expect(idsOf(planCalls(hand, lane, 0, 1000, true))).toEqual([[one], [other]])
  })

  it('never mixes entries with different keys', () => {
    const hand = [entry({ coalesceKey: 'a' }), entry({ coalesceKey: 'b' }), entry({ coalesceKey: 'a' })]
    const [a1, b, a2] = ids(hand)
    expect(idsOf(planCalls(hand, lane, 0, 20))).toEqual([[a1, a2], [b]])
  })

  it('sends an entry without a key alone and at once', () => {
    const hand = [entry({ coalesceKey: null }), entry()]
    expect(idsOf(planCalls(hand, lane, 0, 0))).toEqual([[ids(hand)[0]]])
  })

  it('lets an entry over the limits go alone', () => {
    const hand = [entry({ inputs: 9, tokens: 900 })]
    expect(idsOf(planCalls(hand, lane, 0, 0))).toEqual([ids(hand)])
  })

  it('asks for what its entries cost together, as one request', () => {
    const hand = [
      entry({ tokens: 30, inputTokens: 20, outputTokens: 10 }),
      entry({ tokens: 5, inputTokens: 5 }),
    ]
    expect(planCalls(hand, lane, 0, 20).ready[0]!.cost).toEqual({
      requests: 1,
      tokens: 35,
      inputTokens: 25,
      outputTokens: 10,
    })
  })

  it('loses nothing, sends nothing twice, and keeps to the limits unless a single entry breaks them', () => {
    const entries = fc.array(
      fc.record({
        inputs: fc.integer({ min: 1, max: 6 }),
        tokens: fc.integer({ min: 1, max: 150 }),
        coalesceKey: fc.constantFrom('a', 'b', null),
        since: fc.integer({ min: 0, max: 40 }),
      }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(
        entries,
        fc.integer({ min: 0, max: 2 }),
        fc.integer({ min: 0, max: 500 }),
        (list, busy, now) => {
          const hand = list.map(({ since, ...cost }) => entry(cost, since))
          const plan = planCalls(hand, lane, busy, now)
          const sent = idsOf(plan).flat()
          expect(new Set(sent).size).toBe(sent.length)
          expect(sent.filter((id) => !ids(hand).includes(id))).toEqual([])
          // Entries that are not sent wait until a time that the plan names.
          expect(plan.readyAt === null).toBe(sent.length === hand.length)
          for (const call of plan.ready) {
            expect(call.cost).toEqual(costOf(call.held))
            const inputs = call.held.reduce((sum, held) => sum + held.cost.inputs, 0)
            if (call.held.length === 1) continue
            expect(new Set(call.held.map((held) => held.cost.coalesceKey)).size).toBe(1)
            expect(inputs).toBeLessThanOrEqual(4)
            expect(call.cost.tokens).toBeLessThanOrEqual(100)
          }
        },
      ),
    )
  })

  it('sends everything in hand once enough time has passed', () => {
    const list = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 40 })
    fc.assert(
      fc.property(list, (keys) => {
        const hand = keys.map((coalesceKey) => entry({ coalesceKey }))
        const plan = planCalls(hand, lane, 3, 200)
        expect(idsOf(plan).flat().sort()).toEqual(ids(hand).sort())
      }),
    )
  })
})
