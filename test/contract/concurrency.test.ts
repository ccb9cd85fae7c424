import { describe, expect, it } from 'vitest'
import { createConcurrencyControl } from '../../ratelimit/adaptive-gate.ts'
import { createConcurrency, hearCall, hearQueue } from '../../ratelimit/concurrency.ts'
import { createRandom } from '../../simulator/random.ts'
import { openTestStore } from '../helpers/store.ts'
import { type Policy, runSelfHosted } from '../model/self-hosted-run.ts'

const adaptive = (): Policy => {
  const state = createConcurrency()
  return {
    limit: () => state.limit,
    hear: (timing, inFlight, now) => hearCall(state, { timing, inFlight }, now),
  }
}
const fixed = (limit: number): Policy => ({ limit: () => limit, hear() {} })

/** The fixed number of calls with the most throughput. */
function findBest(knee: number, streams: boolean) {
  const server = { knee, firstTokenMs: 150, tokenMs: 20, kneeAt: () => knee }
  let best = { rate: 0, p95: 0 }
  for (let limit = Math.max(1, Math.floor(knee * 0.7)); limit <= knee * 1.5; limit += 1) {
    const options = { untilMs: 30_000, measureFromMs: 5000, streams, random: createRandom(7) }
    const result = runSelfHosted(fixed(limit), server, options)
    if (result.rate > best.rate) best = result
  }
  return best
}

describe('max_concurrency: auto', () => {
  it.each([
    [16, 8],
    [8, 24],
    [24, 6],
    [40, 12],
    [4, 40],
  ])('finds a knee of %i calls within a minute, and of %i within another', (first, second) => {
    for (const streams of [true, false]) {
      const best = [findBest(first, streams), findBest(second, streams)]
      for (const seed of [1]) {
        for (const [part, from] of [60_000, 180_000].entries()) {
          const server = {
            knee: first,
            firstTokenMs: 150,
            tokenMs: 20,
            kneeAt: (now: number) => (now < 120_000 ? first : second),
          }
          const options = {
            untilMs: from + 60_000,
            measureFromMs: from,
            streams,
            random: createRandom(seed),
          }
          const { rate, p95 } = runSelfHosted(adaptive(), server, options)
          expect(rate, 'calls a second').toBeGreaterThan(0.9 * best[part]!.rate)
          expect(p95, '95th percentile').toBeLessThan(1.5 * best[part]!.p95)
        }
      }
    }
  })

  it('goes down to one call where the server supports no more, and stays there while there is little work', () => {
    const state = createConcurrency()
    const call = { latencyMs: 1000, firstTokenMs: 100, outputTokens: 50, overloaded: true }
    for (let now = 10_000; now < 100_000; now += 10_000) hearCall(state, { timing: call, inFlight: 1 }, now)
    expect(state.limit).toBe(1)
    const idle = createConcurrency()
    for (let now = 10_000; now < 100_000; now += 1000)
      hearCall(idle, { timing: { ...call, overloaded: false }, inFlight: 1 }, now)
    expect(idle.limit).toBe(2)
  })

  it('keeps to what a server runs at once where it reports that more requests wait', () => {
    const state = createConcurrency()
    const call = { latencyMs: 900, firstTokenMs: 100, outputTokens: 50, overloaded: false }
    const seen: number[] = []
    for (let now = 1000; now < 300_000; now += 1000) {
      // Its latency shows nothing; it serves eight at once.
      for (let at = 0; at < state.limit; at += 1)
        hearCall(state, { timing: call, inFlight: state.limit }, now)
      if (now % 2000 === 0) hearQueue(state, Math.max(0, state.limit - 8), now)
      if (now > 60_000) seen.push(state.limit)
    }
    const mean = seen.reduce((sum, limit) => sum + limit, 0) / seen.length
    expect(mean).toBeGreaterThan(6)
    expect(mean).toBeLessThan(12)
  })

  it('is the same in Redis, for all processes', async () => {
    const { redis, prefix } = await openTestStore()
    const random = createRandom(3)
    let now = 1_000_000
    const open = () => createConcurrencyControl({ redis, prefix, now: () => now })
    const processes = [open(), open()]
    const state = createConcurrency()
    const permits = `${prefix}:{g:a}:lane:b:permits`
    const server = { lane: 'a/b', source: null }
    for (let step = 0; step < 160; step += 1) {
      now += 50 + 400 * random()
      const inFlight = Math.max(1, Math.round(state.limit * (0.8 + 0.3 * random())))
      await Promise.all([
        redis.del(permits),
        redis.zadd(permits, ...Array.from({ length: inFlight }, (_, at) => [now + 1000, `p${at}`]).flat()),
      ])
      const slow = Math.max(1, state.limit / (step < 80 ? 12 : 3)) ** 1.5
      const calls = Array.from({ length: 1 + Math.floor(random() * 3) }, () => ({
        latencyMs: Math.round((200 + 500 * random()) * slow),
        firstTokenMs: random() < 0.5 ? null : Math.round(100 * slow),
        outputTokens: Math.floor(random() * 60),
        overloaded: random() < 0.005,
      }))
      const waiting = random() < 0.2 ? Math.round(4 * random()) : null
      const answer = await processes[step % 2]!.hear(server, { calls, waiting })
      for (const call of calls) hearCall(state, { timing: call, inFlight }, now)
      if (waiting !== null) hearQueue(state, waiting, now)
      expect(answer).toBe(state.limit)
      expect(await processes[0]!.hear(server, { calls: [], waiting: null })).toBe(state.limit)
    }
    expect(state.limit).toBeLessThan(8)
  })
})
