import { expect, test } from 'vitest'
import { encodeEstimate, estimateMoney } from '../../../jobs/money.ts'
import type { Price } from '../../../lib/price.ts'
import { hashPrefix } from '../../../lib/prompt-prefix.ts'
import { findSurcharges } from '../../../providers/surcharges.ts'

const price: Price = {
  input: 1,
  output: 10,
  cached_input: 0.1,
  cache_write: 1.25,
  cache_write_1h: 2,
  audio_input: 30,
  audio_output: 60,
  above: [{ input_tokens: 200_000, input: 2, output: 15, cache_write: 2.5 }],
  tiers: { flex: 0.5 },
}
const cost = (inputTokens: number, members: object = {}) => ({
  tokens: 0,
  inputTokens,
  outputTokens: 0,
  inputs: 1,
  coalesceKey: null,
  outputCap: 1000,
  ...members,
})
/** Billionths of a dollar. */
const reserved = (of: Price | null, ...args: Parameters<typeof cost>) =>
  Number(encodeEstimate('l', estimateMoney({ id: 'l', price: of }, cost(...args))))

test('a call is reserved at the highest rates that could apply to it', () => {
  expect(reserved(price, 100_000)).toBe(100_000_000 + 10_000_000)
  // Beyond the step, and so close to it that the provider may count more.
  expect(reserved(price, 200_001)).toBe(400_002_000 + 15_000_000)
  expect(reserved(price, 170_000)).toBe(340_000_000 + 15_000_000)
  expect(reserved(price, 150_000)).toBe(150_000_000 + 10_000_000)
  expect(reserved(price, 1000, { dearRates: ['cache_write'] })).toBe(1_250_000 + 10_000_000)
  expect(reserved(price, 1000, { dearRates: ['cache_write_1h'] })).toBe(2_000_000 + 10_000_000)
  expect(reserved(price, 1000, { dearRates: ['audio'] })).toBe(30_000_000 + 60_000_000)
  // It may fall back to standard.
  expect(reserved(price, 1000, { tier: 'flex' })).toBe(reserved(price, 1000))
  expect(reserved({ ...price, request: 0.01 }, 1000)).toBe(10_000_000 + 1_000_000 + 10_000_000)
})

test('a call without a price reserves nothing, with a cap and without', () => {
  expect(estimateMoney({ id: 'l', price: null }, cost(1000))).toEqual({ estimateUsd: 0 })
  expect(estimateMoney({ id: 'l', price: null }, cost(1000, { outputCap: null }))).toEqual({ estimateUsd: 0 })
})

test('what a request may write to a cache, and audio, is found in its body', () => {
  const marked = {
    messages: [{ role: 'user', content: [{ type: 'text', cache_control: { type: 'ephemeral' } }] }],
  }
  const anHour = { messages: [{ cache_control: { type: 'ephemeral', ttl: '1h' } }] }
  expect(findSurcharges(price, { messages: [] })).toEqual([])
  expect(findSurcharges(price, marked)).toEqual(['cache_write'])
  expect(findSurcharges(price, anHour)).toEqual(['cache_write_1h'])
  expect(findSurcharges(price, { modalities: ['text', 'audio'] })).toEqual(['audio'])
  // If nothing marks what is written, the provider may write anything.
  expect(findSurcharges({ input: 4, output: 20, cache_write: 5 }, { messages: [] })).toEqual(['cache_write'])
  expect(findSurcharges({ input: 4, output: 20 }, marked)).toEqual([])
})

test('the prefix of a request is all but its last text, if that prefix is long', () => {
  const ask = (system: string, text: string, members: object = {}) =>
    hashPrefix({
      messages: [
        { role: 'system', content: system },
        { role: 'user', content: text },
      ],
      ...members,
    })
  const long = 'words '.repeat(1000)
  expect(ask(long, 'one')).toBe(ask(long, 'two'))
  expect(ask(long, 'one')).not.toBe(ask(`${long}!`, 'one'))
  expect(ask(long, 'one', { tools: [{ type: 'function' }] })).not.toBe(ask(long, 'one'))
  expect(ask('short', 'one')).toBeNull()
  expect(ask('short', long)).toBeNull()
  const parts = (text: string) =>
    hashPrefix({ input: [{ role: 'user', content: [{ text: long }, { text }] }], instructions: 'be brief' })
  expect(parts('one')).toBe(parts('two'))
  expect(hashPrefix({ input: long })).toBeNull()
})
