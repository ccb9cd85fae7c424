/** USD a million tokens. */
export type Rates = {
  input: number
  output: number
  /** Read from the prompt cache; absent: as `input`. */
  cached_input?: number
  /** Written to the prompt cache; absent: as `input`. */
  cache_write?: number
  /** Written to a cache that is kept for an hour; absent: as `cache_write`. */
  cache_write_1h?: number
  /** Tokens of audio; absent: as `input` and `output`. */
  audio_input?: number
  audio_output?: number
}

/** What a model costs. */
export type Price = Rates & {
  /** Other rates of calls with more input tokens than `input_tokens`; what a step does not name stays. */
  above?: (Partial<Rates> & { input_tokens: number })[]
  /** USD an image of an answer, a second of audio that an answer counts, a request. */
  image?: number
  audio_second?: number
  request?: number
  /** By tier of service: factor of the standard price. */
  tiers?: Readonly<Record<string, number>>
}

/** What a call used. `input_tokens` holds the cached, the written and those of audio, `output_tokens` those of reasoning and audio. */
export type PricedUsage = {
  input_tokens: number
  output_tokens: number
  cached_input_tokens?: number
  cache_write_tokens?: number
  /** Of `cache_write_tokens`, those kept for an hour. */
  cache_write_1h_tokens?: number
  audio_input_tokens?: number
  audio_output_tokens?: number
  images?: number
  audio_seconds?: number
}

type RateName = keyof Rates
const RATE_NAMES: readonly RateName[] = [
  'input',
  'output',
  'cached_input',
  'cache_write',
  'cache_write_1h',
  'audio_input',
  'audio_output',
]

/** Digits behind the point of a rate, a factor, and seconds of audio. */
const RATE_DIGITS = 12
const FACTOR_DIGITS = 9
const SECOND_DIGITS = 3
const FACTOR_ONE = 10n ** BigInt(FACTOR_DIGITS)
/** A rate of USD a million tokens is as many 10^-18 USD a token with twelve digits more; a billionth of a dollar has 10^9 of them. */
const UNITS_A_NANO = 10n ** 9n

type ExactRates = Record<RateName, bigint>
type ExactPrice = {
  base: ExactRates
  above: { from: number; rates: ExactRates }[]
  image: bigint
  audioSecond: bigint
  request: bigint
  tiers: Map<string, bigint>
}

const exactOf = new WeakMap<Price, ExactPrice>()

/**
 * What a call costs, in whole billionths of a dollar: exact, rounded once, at the end. Nothing that has a price is free: the least is 1.
 *
 * @param tier as the answer names it; standard where it names none, or one without a factor
 */
export function priceInNano(price: Price, usage: PricedUsage, tier = 'standard'): number {
  const exact = toExact(price)
  const units = chargeOf(exact, usage)
  const factor = exact.tiers.get(tier) ?? FACTOR_ONE
  const scale = UNITS_A_NANO * FACTOR_ONE
  const charged = units * factor
  if (charged === 0n) return 0
  const nano = (charged + scale / 2n) / scale
  return nano === 0n ? 1 : Number(nano)
}

function chargeOf(exact: ExactPrice, usage: PricedUsage): bigint {
  const rates = ratesAt(exact, usage.input_tokens)
  const input = countOf(usage.input_tokens)
  // No part is larger than the whole that it is said to be part of.
  const cached = atMost(countOf(usage.cached_input_tokens), input)
  const written = atMost(countOf(usage.cache_write_tokens), input - cached)
  const forAnHour = atMost(countOf(usage.cache_write_1h_tokens), written)
  const heard = atMost(countOf(usage.audio_input_tokens), input - cached - written)
  const output = countOf(usage.output_tokens)
  const spoken = atMost(countOf(usage.audio_output_tokens), output)
  const plain = input - cached - written - heard
  return (
    plain * rates.input +
    cached * rates.cached_input +
    (written - forAnHour) * rates.cache_write +
    forAnHour * rates.cache_write_1h +
    heard * rates.audio_input +
    (output - spoken) * rates.output +
    spoken * rates.audio_output +
    countOf(usage.images) * exact.image +
    (parseDecimal(usage.audio_seconds ?? 0, SECOND_DIGITS) * exact.audioSecond) /
      10n ** BigInt(SECOND_DIGITS) +
    exact.request
  )
}

/** The rates of a call with that much input, with every default filled in; USD a million tokens. */
export function ratesFor(price: Price, inputTokens: number): Required<Rates> {
  const step = (price.above ?? [])
    .toSorted((a, b) => a.input_tokens - b.input_tokens)
    .findLast((one) => inputTokens > one.input_tokens)
  const { input_tokens: _, ...over } = step ?? { input_tokens: 0 }
  return fillIn({ ...price, ...over })
}

function fillIn(rates: Rates): Required<Rates> {
  const { input, output } = rates
  const cacheWrite = rates.cache_write ?? input
  return {
    input,
    output,
    cached_input: rates.cached_input ?? input,
    cache_write: cacheWrite,
    cache_write_1h: rates.cache_write_1h ?? cacheWrite,
    audio_input: rates.audio_input ?? input,
    audio_output: rates.audio_output ?? output,
  }
}

function ratesAt({ base, above }: ExactPrice, inputTokens: number): ExactRates {
  return above.findLast(({ from }) => inputTokens > from)?.rates ?? base
}

function toExact(price: Price): ExactPrice {
  const known = exactOf.get(price)
  if (known !== undefined) return known
  const steps = (price.above ?? []).toSorted((a, b) => a.input_tokens - b.input_tokens)
  const exact: ExactPrice = {
    base: exactRates(fillIn(price)),
    above: steps.map(({ input_tokens: from }) => ({ from, rates: exactRates(ratesFor(price, from + 1)) })),
    // USD each, where rates are USD a million.
    image: parseDecimal(price.image ?? 0, RATE_DIGITS) * 1_000_000n,
    audioSecond: parseDecimal(price.audio_second ?? 0, RATE_DIGITS) * 1_000_000n,
    request: parseDecimal(price.request ?? 0, RATE_DIGITS) * 1_000_000n,
    tiers: new Map(
      Object.entries(price.tiers ?? {}).map(([tier, factor]) => [tier, parseDecimal(factor, FACTOR_DIGITS)]),
    ),
  }
  exactOf.set(price, exact)
  return exact
}

function exactRates(rates: Required<Rates>): ExactRates {
  return Object.fromEntries(
    RATE_NAMES.map((name) => [name, parseDecimal(rates[name], RATE_DIGITS)]),
  ) as ExactRates
}

/** The decimal number that a double is written as, times 10^digits. What has more digits is rounded to nearest. */
function parseDecimal(value: number, digits: number): bigint {
  const [mantissa = '0', exponent = '0'] = String(value).split('e')
  const [whole = '0', fraction = ''] = mantissa.split('.')
  const shift = Number(exponent) + digits - fraction.length
  const all = BigInt(whole + fraction)
  if (shift >= 0) return all * 10n ** BigInt(shift)
  const scale = 10n ** BigInt(-shift)
  return (all + scale / 2n) / scale
}

function countOf(tokens: number | undefined): bigint {
  return tokens === undefined || !(tokens > 0) ? 0n : BigInt(Math.floor(tokens))
}

function atMost(count: bigint, most: bigint): bigint {
  return count < most ? count : most < 0n ? 0n : most
}
