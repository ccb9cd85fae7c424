import { describe, expect, test } from 'vitest'
import type { ProviderKind } from '../../../config/lanes.ts'
import type { PriceSettings } from '../../../config/price-schema.ts'
import { resolvePrice } from '../../../config/prices.ts'
import { findUnpriced } from '../../../config/unpriced.ts'
import { encodeEstimate, estimateMoney } from '../../../jobs/money.ts'
import { type PricedUsage, priceInNano } from '../../../lib/price.ts'
import { load } from './load-fixture.ts'

/** Published prices, millionths of a dollar for a million tokens: whole numbers. `w`: writes, `h`: kept an hour, `a`: audio. */
type Row = { i: number; c: number; w: number; h: number; o: number; a: number }
type Model = [
  kind: ProviderKind,
  name: string,
  row: Partial<Row> & { i: number; o: number },
  long?: [number, Row],
]

const LONG_SONNET: Row = { i: 6e6, c: 6e5, w: 75e5, h: 12e6, o: 225e5, a: 6e6 }
const LONG_PRO: Row = { i: 25e5, c: 25e4, w: 25e5, h: 25e5, o: 15e6, a: 25e5 }
const MODELS: Model[] = [
  ['openai', 'gpt-5', { i: 1_250_000, c: 125_000, o: 10_000_000 }],
  ['openai', 'gpt-5-mini', { i: 250_000, c: 25_000, o: 2_000_000 }],
  ['openai', 'gpt-5-nano', { i: 50_000, c: 5_000, o: 400_000 }],
  ['openai', 'gpt-4.1', { i: 2_000_000, c: 500_000, o: 8_000_000 }],
  ['openai', 'gpt-4.1-mini', { i: 400_000, c: 100_000, o: 1_600_000 }],
  ['openai', 'gpt-4.1-nano', { i: 100_000, c: 25_000, o: 400_000 }],
  ['openai', 'gpt-4o', { i: 2_500_000, c: 1_250_000, o: 10_000_000 }],
  ['openai', 'gpt-4o-mini', { i: 150_000, c: 75_000, o: 600_000 }],
  ['openai', 'o3', { i: 2_000_000, c: 500_000, o: 8_000_000 }],
  ['openai', 'o4-mini', { i: 1_100_000, c: 275_000, o: 4_400_000 }],
  ['openai', 'o1', { i: 15_000_000, c: 7_500_000, o: 60_000_000 }],
  ['azure-openai', 'gpt-4.1', { i: 2_000_000, c: 500_000, o: 8_000_000 }],
  ['anthropic', 'claude-opus-4-1', { i: 15e6, c: 15e5, w: 1875e4, h: 30e6, o: 75e6 }],
  ['anthropic', 'claude-opus-4-5', { i: 5e6, c: 5e5, w: 625e4, h: 10e6, o: 25e6 }],
  ['anthropic', 'claude-haiku-4-5', { i: 1e6, c: 1e5, w: 125e4, h: 2e6, o: 5e6 }],
  ['anthropic', 'claude-3-5-haiku-latest', { i: 8e5, c: 8e4, w: 1e6, h: 16e5, o: 4e6 }],
  ['anthropic', 'claude-sonnet-4-5', { i: 3e6, c: 3e5, w: 375e4, h: 6e6, o: 15e6 }, [200_000, LONG_SONNET]],
  ['gemini', 'gemini-2.5-pro', { i: 125e4, c: 125e3, o: 10e6 }, [200_000, LONG_PRO]],
  ['gemini', 'gemini-2.5-flash', { i: 3e5, c: 3e4, o: 25e5, a: 1e6 }],
  ['gemini', 'gemini-2.0-flash', { i: 1e5, c: 25e3, o: 4e5, a: 7e5 }],
]

/** Tokens of each kind, and the tier. */
type Used = { plain?: number; c?: number; w?: number; h?: number; a?: number; o?: number; tier?: string }
const USED: Used[] = [
  { plain: 1, o: 0 },
  { plain: 1000, o: 500 },
  { plain: 12_345, o: 6789 },
  { plain: 100, c: 9900, o: 10 },
  { plain: 10, w: 5000, o: 7 },
  { plain: 3, w: 2000, h: 4000, c: 100_000, o: 1 },
  { plain: 200_000, o: 1 }, // The last one at the base price.
  { plain: 200_001, o: 1 }, // All of it at the long rate.
  { plain: 50_000, c: 500_000, w: 10, o: 64_000 },
  { plain: 777, c: 13, a: 1500, o: 31, tier: 'batch' },
]

function workOut([, , row, long]: Model, used: Used): number {
  const { plain = 0, c = 0, w = 0, h = 0, a = 0, o = 0, tier } = used
  const base = { c: row.i, w: row.i, a: row.i, ...row }
  const rates: Row =
    long !== undefined && plain + c + w + h + a > long[0] ? long[1] : { ...base, h: row.h ?? base.w }
  const sum = plain * rates.i + c * rates.c + w * rates.w + h * rates.h + a * rates.a + o * rates.o
  return Math.round((tier === 'batch' ? sum / 2 : sum) / 1000)
}

function toUsage({ plain = 0, c = 0, w = 0, h = 0, a = 0, o = 0 }: Used): PricedUsage {
  return {
    input_tokens: plain + c + w + h + a,
    cached_input_tokens: c,
    cache_write_tokens: w + h,
    cache_write_1h_tokens: h,
    audio_input_tokens: a,
    output_tokens: o,
  }
}

const published = (kind: ProviderKind, model: string, settings?: PriceSettings) =>
  resolvePrice({ kind, baseUrl: 'https://api.example/v1', model, settings })

describe('a published price', () => {
  test.each(MODELS)('%s: %s, ten usages', (...model) => {
    const price = published(model[0], model[1])!
    expect(USED.map((used) => priceInNano(price, toUsage(used), used.tier))).toEqual(
      USED.map((used) => Math.max(1, workOut(model, used))),
    )
  })

  test('worked out on paper', () => {
    const sonnet = published('anthropic', 'claude-sonnet-4-5')!
    // 3 at $3, 2,000 at $3.75, 4,000 at $6, 100,000 at $0.30, 1 at $15 a million: 0.000009 + 0.0075 + 0.024 + 0.03 + 0.000015.
    expect(priceInNano(sonnet, toUsage(USED[5]!))).toBe(61_524_000)
    const mini = published('openai', 'gpt-5-mini')!
    // 100 at $0.25, 9,900 at $0.025, 10 at $2 a million, at flex half of it.
    expect(priceInNano(mini, toUsage(USED[3]!))).toBe(292_500)
    expect(priceInNano(mini, toUsage(USED[3]!), 'flex')).toBe(146_250)
    expect(priceInNano(mini, toUsage(USED[3]!), 'priority')).toBe(526_500)
  })

  test.each([
    ['gpt-5.1', 2.5, 20],
    ['gpt-5', 2.5, 20],
    ['gpt-5-mini', 0.45, 3.6],
    ['gpt-4.1', 3.5, 14],
    ['gpt-4.1-mini', 0.7, 2.8],
    ['gpt-4.1-nano', 0.2, 0.8],
    ['gpt-4o', 4.25, 17],
    ['gpt-4o-mini', 0.25, 1],
    ['o3', 3.5, 14],
    ['o4-mini', 2, 8],
  ])('priority processing of %s costs $%d and $%d a million', (model, input, output) => {
    const price = published('openai', model)!
    const factor = price.tiers!.priority!
    expect([price.input * factor, price.output * factor]).toEqual([
      expect.closeTo(input, 9),
      expect.closeTo(output, 9),
    ])
  })

  test('of priority inference of Gemini is 80 % more with 2.5, and at most twice the standard one', () => {
    expect(published('gemini', 'gemini-2.5-flash')!.tiers).toMatchObject({ priority: 1.8, flex: 0.5 })
    expect(published('gemini', 'gemini-2.0-flash')!.tiers).toMatchObject({ priority: 2 })
  })

  test('is not known for a model that the catalogue does not have, or for a server of one’s own', () => {
    expect(published('openai', 'no-such-model')).toBeNull()
    expect(published('openai-compatible', 'gpt-5')).toBeNull()
    expect(published('openai', 'no-such-model', { tiers: { flex: 0.1 } })).toBeNull()
  })

  test('is found for a server of one’s own by its address, where the price is auto', () => {
    const groq = {
      kind: 'openai-compatible' as const,
      baseUrl: 'https://api.groq.com/openai/v1',
      settings: 'auto' as const,
    }
    expect(resolvePrice({ ...groq, model: 'llama-3.3-70b-versatile' })).toMatchObject({
      input: 0.59,
      output: 0.79,
    })
  })
})

describe('bugs that other gateways have had', () => {
  const sonnet = published('anthropic', 'claude-sonnet-4-5')!
  const cost = (usage: Partial<PricedUsage>, price = sonnet, tier?: string) =>
    priceInNano(price, { input_tokens: 0, output_tokens: 0, ...usage }, tier)

  test('writes to the prompt cache are charged, at their own rate', () => {
    expect(cost({ input_tokens: 1000, cache_write_tokens: 1000 })).toBe(3_750_000)
    expect(cost({ input_tokens: 1000, cache_write_tokens: 1000, cache_write_1h_tokens: 1000 })).toBe(
      6_000_000,
    )
  })

  test('cached input is not charged at the full rate', () => {
    expect(cost({ input_tokens: 1000, cached_input_tokens: 1000 })).toBe(300_000)
    expect(cost({ input_tokens: 300_000, cached_input_tokens: 300_000 })).toBe(180_000_000)
  })

  test('a custom price without a part for cached input charges it as input, and not as nothing', () => {
    const own = published('openai-compatible', 'm', { input: 2, output: 4 })!
    expect(cost({ input_tokens: 1000, cached_input_tokens: 1000 }, own)).toBe(2_000_000)
    expect(cost({ input_tokens: 1000, cache_write_tokens: 1000 }, own)).toBe(2_000_000)
  })

  test('no bill of a long input exceeds its reservation', () => {
    const lane = { id: 'l', price: sonnet }
    for (const tokens of [1000, 159_999, 160_001, 190_000, 200_000, 200_001, 1_000_000]) {
      const asked = {
        tokens: 0,
        inputTokens: tokens,
        outputTokens: 0,
        inputs: 1,
        coalesceKey: null,
        outputCap: 1000,
      }
      const reserved = Number(encodeEstimate('l', estimateMoney(lane, asked)))
      // The provider may count a quarter more than the estimate.
      for (const counted of [tokens, Math.min(tokens * 1.25, Math.max(tokens, 200_001))])
        expect(cost({ input_tokens: Math.floor(counted), output_tokens: 1000 })).toBeLessThanOrEqual(
          reserved * (counted / tokens),
        )
    }
  })

  test('batches cost half of everything, including writes to the cache and long inputs', () => {
    const used = {
      input_tokens: 300_000,
      cache_write_tokens: 1000,
      cached_input_tokens: 10_000,
      output_tokens: 500,
    }
    expect(cost(used, sonnet, 'batch')).toBe(cost(used) / 2)
  })

  test('audio is charged at its own rates, in and out', () => {
    const flash = published('gemini', 'gemini-2.5-flash')!
    expect(cost({ input_tokens: 1000, audio_input_tokens: 1000 }, flash)).toBe(1_000_000)
    const spoken = published('openai', 'gpt-audio')!
    expect(cost({ output_tokens: 1000, audio_output_tokens: 1000 }, spoken)).toBe(64_000_000)
    expect(cost({ output_tokens: 1000 }, spoken)).toBe(10_000_000)
  })
})

describe('a price of the configuration', () => {
  const nano = (settings: PriceSettings, usage: PricedUsage, tier?: string) =>
    priceInNano(published('openai-compatible', 'm', settings)!, usage, tier)

  test('without a rate for cached input or writes charges these as input', () => {
    const used = { input_tokens: 1000, cached_input_tokens: 600, cache_write_tokens: 300, output_tokens: 10 }
    expect(nano({ input: 2, output: 4 }, used)).toBe(2_040_000)
    expect(nano({ input: 2, output: 4, cached_input: 0.2 }, used)).toBe(960_000)
    expect(nano({ input: 2, output: 4, cached_input: 0.2, cache_write: 2.5 }, used)).toBe(1_110_000)
  })

  test('replaces the catalogue; the rest follows in proportion', () => {
    const discounted = published('anthropic', 'claude-sonnet-4-5', { input: 1.5 })!
    expect(discounted).toMatchObject({ input: 1.5, cached_input: 0.15, cache_write: 1.875, output: 15 })
    expect(discounted.above).toMatchObject([
      { input_tokens: 200_000, input: 3, cached_input: 0.3, output: 22.5 },
    ])
    expect(published('openai', 'gpt-5-mini', { tiers: { flex: 0.4 } })).toMatchObject({
      input: 0.25,
      tiers: { flex: 0.4, batch: 0.5, priority: 1.8 },
    })
    const steps = [{ input_tokens: 10, input: 7 }]
    expect(published('gemini', 'gemini-2.5-pro', { above: steps })).toMatchObject({
      input: 1.25,
      above: steps,
    })
    expect(published('openai', 'gpt-5', { cached_input: 0 })).toMatchObject({ input: 1.25, cached_input: 0 })
  })

  test('knows steps, requests, seconds, images, audio and tiers', () => {
    const settings = {
      input: 1,
      output: 2,
      above: [{ input_tokens: 100, input: 3 }],
      request: 0.005,
      audio_second: 0.0001,
      image: 0.04,
      audio_output: 20,
      tiers: { cheap: 0.25 },
    }
    expect(nano(settings, { input_tokens: 100, output_tokens: 0 })).toBe(5_100_000)
    expect(nano(settings, { input_tokens: 101, output_tokens: 1 })).toBe(5_305_000)
    const heard = {
      input_tokens: 0,
      output_tokens: 10,
      audio_output_tokens: 4,
      audio_seconds: 2.5,
      images: 2,
    }
    expect(nano(settings, heard)).toBe(5_000_000 + 250_000 + 80_000_000 + 12_000 + 80_000)
    expect(nano(settings, { input_tokens: 100, output_tokens: 0 }, 'cheap')).toBe(1_275_000)
  })

  test('never charges less than a billionth for priced usage, and no part beyond its whole', () => {
    expect(nano({ input: 1e-6 }, { input_tokens: 1, output_tokens: 0 })).toBe(1)
    expect(nano({ input: 0, output: 0 }, { input_tokens: 1e6, output_tokens: 1e6 })).toBe(0)
    const odd = { input_tokens: 10, cached_input_tokens: 99, cache_write_tokens: 99, output_tokens: 0 }
    expect(nano({ input: 1, cached_input: 0.5, cache_write: 9 }, odd)).toBe(5000)
  })

  test('is exact where doubles are not: ten million calls add up', () => {
    const one = nano({ input: 0.1, output: 0.2 }, { input_tokens: 3, output_tokens: 3 })
    expect(one).toBe(900)
    expect(nano({ input: 0.1, output: 0.2 }, { input_tokens: 3e13, output_tokens: 3e13 })).toBe(9e15)
  })
})

test('models without a price are named, with the tenants whose budgets do not see them', () => {
  const config = load(`
providers:
  openai: { kind: openai, api_key: sk-x, models: { gpt-5-mini: {}, mystery: {}, deployed: { price_as: gpt-5 } } }
  local: { kind: openai-compatible, base_url: http://127.0.0.1:1/v1, models: { free: { price: { input: 0, output: 0 } }, m: {} } }
tenants:
  acme: { keys: [key-of-acme-with-some-length], limits: { budget_usd_per_day: 1 } }
  other: { keys: [key-of-other-with-some-length] }
`)
  expect(findUnpriced(config)).toEqual([
    { lane: 'openai/mystery', budgets: ['acme'] },
    { lane: 'local/m', budgets: ['acme'] },
  ])
})
