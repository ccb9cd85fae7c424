import { afterAll, describe, expect, it, test } from 'vitest'
import { createLimiter } from '../../simulator/limiter.ts'
import type { Enforcement } from '../../simulator/limits-like.ts'
import { createRandom } from '../../simulator/random.ts'
import { laneWith, makeLua, makeTwin, type Subject } from './ratelimit-subjects.ts'

const LIMITS = { requests_per_minute: 6000, tokens_per_minute: 180_000 }
/** The estimate of a call, with `max_tokens`, and its average use. */
const ESTIMATE = 300
const USED = 100
const MINUTE_MS = 60_000

type Counting = 'estimate' | 'used'

/**
 * A saturated lane for some minutes of simulated time, with a provider that reports what remains. Answers for each
 * minute what the provider counted, as a share of its limit, and how often it refused.
 */
async function run(
  subject: Subject,
  lane: ReturnType<typeof laneWith>,
  { enforcement, counting }: { enforcement: Enforcement; counting: (minute: number) => Counting },
  minutes: number,
  seed: number,
) {
  const random = createRandom(seed)
  const { gate, clock } = subject
  const limiter = createLimiter({ limits: LIMITS, enforcement, window: MINUTE_MS })
  const start = clock.now
  const result = Array.from({ length: minutes }, () => ({ share: 0, refused: 0 }))
  const events: { at: number; run: () => Promise<void> | void }[] = []
  const at = (time: number, run: () => Promise<void> | void) => {
    let index = events.length
    while (index > 0 && events[index - 1]!.at > time) index--
    events.splice(index, 0, { at: time, run })
  }
  const cost = { requests: 1, tokens: ESTIMATE, inputTokens: 20, outputTokens: ESTIMATE }
  const arrive = (permit: string) => {
    const admittedAt = clock.now
    const minute = Math.floor((admittedAt - start) / MINUTE_MS)
    const admission = limiter.take(ESTIMATE, admittedAt)
    const remainingTokens = limiter.levels(admittedAt).tokens!.remaining
    const feedback = { limitTokens: LIMITS.tokens_per_minute, remainingTokens }
    if (!admission.admitted) {
      if (result[minute]) result[minute].refused++
      at(admittedAt + 10, () => gate.settle(lane, [{ permit, actual: cost, feedback, throttledMs: 1000 }]))
      return
    }
    const used = USED * (0.5 + random())
    const counted = counting(minute) === 'used' ? used : ESTIMATE
    if (result[minute]) result[minute].share += counted / LIMITS.tokens_per_minute
    at(admittedAt + 150 + random() * 300, () => {
      limiter.refund(ESTIMATE - counted, admittedAt, clock.now)
      return gate.settle(lane, [
        { permit, actual: cost, feedback, outcome: 'ok', usedTokens: Math.ceil(used) },
      ])
    })
  }
  const ask = async (): Promise<void> => {
    const { permits, waitMs } = await gate.take(lane, [{ cost }, { cost }, { cost }, { cost }])
    for (const permit of permits) at(clock.now + random() * 20, () => arrive(permit))
    at(clock.now + Math.max(1, waitMs) + random() * 3, ask)
  }
  at(start, ask)
  while (events.length > 0 && events[0]!.at < start + minutes * MINUTE_MS) {
    const event = events.shift()!
    clock.now = Math.max(clock.now, event.at)
    await event.run()
  }
  return result
}

const LANES = [
  { window: 'of a minute', lane: laneWith(LIMITS) },
  { window: 'that is learned', lane: laneWith({ ...LIMITS, window_auto: true }) },
]
const ENFORCEMENTS: Enforcement[] = ['bucket', 'window', 'fixed']

describe.each(LANES)('with a window $window', ({ lane }) => {
  it.each(ENFORCEMENTS)('a provider that keeps estimates (%s) refuses nothing', async (enforcement) => {
    for (const seed of [1, 2]) {
      const subject = makeTwin().create()
      const minutes = await run(subject, lane, { enforcement, counting: () => 'estimate' }, 4, seed)
      expect((await subject.gate.read(lane)).counting).toBe('estimate')
      expect(minutes.reduce((sum, { refused }) => sum + refused, 0)).toBe(0)
      expect(minutes.at(-1)!.share).toBeGreaterThan(0.95)
    }
  })

  it.each(ENFORCEMENTS)('a provider that counts what was used (%s) is filled', async (enforcement) => {
    for (const seed of [1, 2]) {
      const subject = makeTwin().create()
      const minutes = await run(subject, lane, { enforcement, counting: () => 'used' }, 4, seed)
      expect((await subject.gate.read(lane)).counting).toBe('used')
      expect(minutes.reduce((sum, { refused }) => sum + refused, 0)).toBeLessThanOrEqual(2)
      expect(minutes.at(-1)!.share).toBeGreaterThan(0.95)
    }
  })
})

test('a provider that begins to keep estimates is noticed, and refunds are taken back', async () => {
  const subject = makeTwin().create()
  const [{ lane }] = LANES as [(typeof LANES)[0]]
  const counting = (minute: number): Counting => (minute < 3 ? 'used' : 'estimate')
  const minutes = await run(subject, lane, { enforcement: 'bucket', counting }, 6, 1)
  expect((await subject.gate.read(lane)).counting).toBe('estimate')
  expect(minutes[3]!.refused).toBeLessThanOrEqual(10)
  expect(minutes.slice(4).map(({ refused }) => refused)).toEqual([0, 0])
})

describe.each([
  { name: 'Lua', make: makeLua },
  { name: 'twin', make: makeTwin },
])('a denial in the $name bucket', ({ make }) => {
  const maker = make()
  afterAll(maker.close)

  it.each([
    { what: 'nothing of calls of more than a minute ago', afterMs: 2 * MINUTE_MS, least: -1000, most: 1000 },
    { what: 'what calls of the last minute got back', afterMs: 1000, least: -110_000, most: -50_000 },
  ])('takes back $what', async ({ afterMs, least, most }) => {
    const { gate, clock } = maker.create()
    const [{ lane }] = LANES as [(typeof LANES)[0]]
    const end = async (tokens: number, remainingTokens: number) => {
      const cost = { requests: 1, tokens, inputTokens: 0, outputTokens: tokens }
      const [permit] = (await gate.take(lane, [{ cost }])).permits
      clock.now += 500
      const feedback = { limitTokens: LIMITS.tokens_per_minute, remainingTokens }
      await gate.settle(lane, [{ permit: permit!, actual: cost, feedback, outcome: 'ok', usedTokens: 100 }])
    }
    for (let i = 0; i < 30; i++, clock.now += 15_000) await end(20_000, 180_000)
    expect((await gate.read(lane)).counting).toBe('used')
    clock.now += afterMs
    await end(300, 20_000)
    const { counting, levels } = await gate.read(lane)
    expect(counting).toBe('estimate')
    expect(levels.tokens).toBeGreaterThan(least)
    expect(levels.tokens).toBeLessThan(most)
  })
})

test('the scripts learn the same as the model', async () => {
  const makers = [makeLua(), makeTwin()]
  const results = []
  for (const maker of makers) {
    const subject = maker.create()
    const [, { lane }] = LANES as [(typeof LANES)[0], (typeof LANES)[0]]
    const minutes = await run(subject, lane, { enforcement: 'bucket', counting: () => 'used' }, 2, 1)
    results.push([minutes, (await subject.gate.read(lane)).counting])
    maker.close()
  }
  expect(results[0]).toEqual(results[1])
})
