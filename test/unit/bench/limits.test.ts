import { describe, expect, it } from 'vitest'
import { checkGoals } from '../../../bench/limits/checks.ts'
import { readOptions } from '../../../bench/limits/options.ts'
import { sharesDuring } from '../../../bench/limits/timeline.ts'
import { chatBody, LIMITS, makeCalls, secondsOf, sumOf } from '../../../bench/limits/workload.ts'
import { estimateCost } from '../../../providers/accounting.ts'
import type { LimitsLikeName } from '../../../simulator/limits-like.ts'

describe('the calls of the bench of limits', () => {
  it('are the same for the same name, and all different', () => {
    const calls = makeCalls('a', 400)
    expect(makeCalls('a', 400)).toEqual(calls)
    expect(new Set(calls.map(({ prompt }) => prompt)).size).toBe(400)
  })

  it('count for the upstream as many tokens as they should', () => {
    for (const call of makeCalls('a customer writes', 40)) {
      const cost = estimateCost({ kind: 'openai-compatible', type: 'chat', body: chatBody('m', call) })
      expect(cost.tokens).toBe(call.tokens)
    }
  })

  it('use both limits nearly alike', () => {
    const amount = sumOf(makeCalls('a', 400))
    const byRequests = secondsOf({ ...amount, tokens: 0 }, LIMITS)
    expect(secondsOf(amount, LIMITS) / byRequests).toBeCloseTo(1.04, 6)
  })
})

describe('the share of the limits', () => {
  it('is that of the requested whole seconds, and the larger one counts', () => {
    const entry = (second: number, requests: number, tokens: number) => ({
      second,
      requests,
      tokens,
      rejected: 0,
    })
    const timeline = [entry(9, 99, 9999), entry(10, 30, 1500), entry(12, 15, 1500), entry(13, 99, 9999)]
    expect(sharesDuring(timeline, LIMITS, 10, 13)).toEqual({ requests: 0.5, tokens: 1 / 3, most: 0.5 })
  })
})

describe('the goals of the bench of limits', () => {
  const nothing = {
    at: '',
    commit: '',
    machine: { cpu: '', cores: 2, memoryGiB: 1, os: '', node: '', redis: '', packages: {}, loadBefore: 0 },
    loadAfter: 0,
    compare: null,
    half: null,
    shared: null,
    steady: null,
    families: null,
    sources: null,
    ways: null,
    fairness: null,
    keys: null,
    eta: null,
    knee: null,
  }
  const shares = (most: number) => ({ requests: most, tokens: most, most })
  const ways = (name: LimitsLikeName, share: number, refused: number) => [{ name, share, refused }]
  const steady = (most: number, refused: number) => [
    { name: 'd. Sluice', shares: shares(most), firstShares: shares(most), refused },
  ]
  const eta = (error: number) => [{ place: 500, forecastSeconds: 10, seconds: 10, error }]

  const knee = (rate: number, p95: number) => [
    { knee: 12, auto: { rate, p95 }, best: { limit: 12, rate: 10, p95: 1 } },
  ]

  const keys = (share: number) => ({
    ...{ keys: 10_000, bytesPerKey: 400, share },
    ...{ flood: 2_000, jobs: 5, seconds: 2 },
  })

  it('are checked for the parts that were run', () => {
    expect(checkGoals(nothing)).toEqual([])
  })

  it.each([
    ['a full limit without a 429', { steady: steady(0.98, 0) }, true],
    ['a limit that is not filled', { steady: steady(0.979, 0) }, false],
    ['a single 429', { steady: steady(0.99, 1) }, false],
    ['a shared limit that is full', { families: { shares: shares(0.98), lanes: {}, refused: 0 } }, true],
    ['sources that are full', { sources: { shares: shares(0.98), keys: {}, refused: 0 } }, true],
    ['sources that are not', { sources: { shares: shares(0.97), keys: {}, refused: 0 } }, false],
    ['a 429 of a shared limit', { families: { shares: shares(0.99), lanes: {}, refused: 1 } }, false],
    ['a knee that was found', { knee: knee(9, 1.5) }, true],
    ['too few calls at once', { knee: knee(8.9, 1) }, false],
    ['too many calls at once', { knee: knee(10, 1.6) }, false],
    ['three 429s to find out that a second is counted', { ways: ways('azure-1s', 0.96, 3) }, true],
    ['a way that is not filled', { ways: ways('azure-1s', 0.94, 0) }, false],
    ['a single 429 of a minute', { ways: ways('gemini', 0.99, 1) }, false],
    ['a forecast as good as asked for', { eta: eta(-0.15) }, true],
    ['a forecast worse than that', { eta: eta(0.16) }, false],
    ['fair keys that fill their lane', { keys: keys(0.96) }, true],
    ['fair keys that cost their lane', { keys: keys(0.9) }, false],
    [
      'a quiet tenant in time',
      { fairness: { noisyJobs: 1500, quietJobs: 40, seconds: 5, idealSeconds: 2.5 } },
      true,
    ],
    [
      'a quiet tenant that waits',
      { fairness: { noisyJobs: 1500, quietJobs: 40, seconds: 5.1, idealSeconds: 2.5 } },
      false,
    ],
  ])('judge %s', (_, found, holds) => {
    expect(checkGoals({ ...nothing, ...found }).map((check) => check.holds)).toEqual([holds])
  })
})

describe('the options of the bench of limits', () => {
  it('run every part and keep the results, or one part and keep none', () => {
    expect(readOptions([], '/results')).toMatchObject({ parts: { length: 11 }, out: '/results' })
    expect(readOptions(['--only', 'eta'], '/results')).toEqual({ parts: ['eta'], out: null })
    expect(() => readOptions(['--only', 'all'], '/results')).toThrow(/--only: expected one of compare, half/)
  })
})
