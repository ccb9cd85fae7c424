import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLimiter, formatReset } from '../../../simulator/limiter.ts'

const MINUTE = 60_000

test('a bucket starts full, refills continuously and never exceeds its capacity', () => {
  const limiter = createLimiter({
    limits: { requests_per_minute: 60 },
    enforcement: 'bucket',
    window: MINUTE,
  })
  for (let count = 0; count < 60; count += 1) expect(limiter.take(1, 0).admitted).toBe(true)
  expect(limiter.take(1, 0)).toEqual({ admitted: false, by: 'requests', waitMs: 1000, used: 60 })
  expect(limiter.take(1, 999).admitted).toBe(false)
  expect(limiter.take(1, 1000).admitted).toBe(true)
  expect(limiter.levels(1000 + 10 * MINUTE).requests?.remaining).toBe(60)
})

test('a window drops a call exactly when it is a window old', () => {
  const limiter = createLimiter({ limits: { requests_per_minute: 2 }, enforcement: 'window', window: MINUTE })
  expect(limiter.take(1, 0).admitted).toBe(true)
  expect(limiter.take(1, 30_000).admitted).toBe(true)
  expect(limiter.take(1, 59_999)).toMatchObject({ admitted: false, waitMs: 1 })
  expect(limiter.take(1, 60_000).admitted).toBe(true)
  expect(limiter.take(1, 60_001)).toMatchObject({ admitted: false, waitMs: 29_999 })
})

test('tokens are limited beside requests, and a refused call takes of neither', () => {
  const limits = { requests_per_minute: 10, tokens_per_minute: 100 }
  const limiter = createLimiter({ limits, enforcement: 'window', window: MINUTE })
  expect(limiter.take(80, 0).admitted).toBe(true)
  expect(limiter.take(21, 1)).toMatchObject({ admitted: false, by: 'tokens', used: 80 })
  expect(limiter.take(20, 2).admitted).toBe(true)
  expect(limiter.levels(2)).toMatchObject({ requests: { remaining: 8 }, tokens: { remaining: 0 } })
})

test('a call larger than the whole allowance can never be admitted', () => {
  for (const enforcement of ['bucket', 'window'] as const) {
    const limiter = createLimiter({ limits: { tokens_per_minute: 100 }, enforcement, window: MINUTE })
    expect(limiter.take(101, 0)).toMatchObject({ admitted: false, waitMs: Number.POSITIVE_INFINITY })
    expect(limiter.take(100, 0).admitted).toBe(true)
  }
})

test('a shorter window allows its share of the limit', () => {
  const limiter = createLimiter({
    limits: { requests_per_minute: 1800 },
    enforcement: 'window',
    window: 1000,
  })
  for (let count = 0; count < 30; count += 1) expect(limiter.take(1, 500).admitted).toBe(true)
  expect(limiter.take(1, 1499).admitted).toBe(false)
  expect(limiter.take(1, 1500).admitted).toBe(true)
})

test('in any sequence of calls no window holds more than the limit, and the announced wait is the wait needed', () => {
  const calls = fc.array(fc.record({ gap: fc.nat(20_000), tokens: fc.integer({ min: 1, max: 60 }) }), {
    maxLength: 80,
  })
  fc.assert(
    fc.property(calls, (list) => {
      const limits = { requests_per_minute: 5, tokens_per_minute: 100 }
      const limiter = createLimiter({ limits, enforcement: 'window', window: MINUTE })
      const admitted: { at: number; tokens: number }[] = []
      let now = 0
      for (const { gap, tokens } of list) {
        now += gap
        const admission = limiter.take(tokens, now)
        if (admission.admitted) admitted.push({ at: now, tokens })
        else if (admission.by === 'requests') {
          const inWindow = admitted.filter((call) => call.at > now - MINUTE)
          expect(inWindow[0]!.at + MINUTE).toBe(now + admission.waitMs)
        }
      }
      for (const { at } of admitted) {
        const inWindow = admitted.filter((call) => call.at > at - MINUTE && call.at <= at)
        expect(inWindow.length).toBeLessThanOrEqual(5)
        expect(inWindow.reduce((sum, call) => sum + call.tokens, 0)).toBeLessThanOrEqual(100)
      }
    }),
  )
})

test('resets are written as OpenAI writes them', () => {
  expect(formatReset(0)).toBe('0ms')
  expect(formatReset(120)).toBe('120ms')
  expect(formatReset(1500)).toBe('1.5s')
  expect(formatReset(72_500)).toBe('1m12.5s')
  expect(formatReset(360_000)).toBe('6m0s')
  expect(formatReset(7_203_000)).toBe('2h0m3s')
})

test('a fixed window is the clock’s: its allowance comes back at its end, not a window later', () => {
  const limiter = createLimiter({ limits: { tokens_per_minute: 100 }, enforcement: 'fixed', window: MINUTE })
  const start = 7 * MINUTE
  expect(limiter.take(80, start + 59_000).admitted).toBe(true)
  expect(limiter.take(21, start + 59_500)).toMatchObject({ admitted: false, waitMs: 500, used: 80 })
  expect(limiter.take(100, start + MINUTE).admitted).toBe(true)
  expect(limiter.levels(start + MINUTE + 1).tokens).toMatchObject({ remaining: 0, resetMs: MINUTE - 1 })
})

test.each(['bucket', 'window', 'fixed'] as const)(
  'tokens given back by a %s can be taken again',
  (enforcement) => {
    const limiter = createLimiter({ limits: { tokens_per_minute: 100 }, enforcement, window: MINUTE })
    limiter.take(90, 0)
    limiter.refund(60, 0, 1)
    expect(limiter.levels(1).tokens?.remaining).toBe(70)
    // A window that is over gets nothing back.
    limiter.refund(60, 0, 3 * MINUTE)
    expect(limiter.levels(3 * MINUTE).tokens?.remaining).toBe(100)
  },
)
