/** USD per million tokens. */
export type Rates = {
  input: number
  output: number
  /** Read from the prompt cache; absent: like `input`. */
  cached_input?: number
  /** Written to the prompt cache; absent: like `input`. */
  cache_write?: number
  /** Written to a cache that is kept for an hour; absent: like `cache_write`. */
  cache_write_1h?: number
  /** Audio tokens; absent: like `input` and `output`. */
  audio_input?: number
  audio_output?: number
}

/** The price of a model. */
export type Price = Rates & {
  /** Other rates for calls with more input tokens than `input_tokens`. Rates that a step does not name stay the same. */
  above?: (Partial<Rates> & { input_tokens: number })[]
  /** USD per image of an answer, per second of audio that an answer counts, and per request. */
  image?: number
  audio_second?: number
  request?: number
  /** By service tier: factor of the standard price. */
  tiers?: Readonly<Record<string, number>>
}

/** The usage of a call. `input_tokens` includes cached, written and audio tokens; `output_tokens` includes reasoning and audio tokens. */
export type PricedUsage = {
  input_tokens: number
  output_tokens: number
  cached_input_tokens?: number
  cache_write_tokens?: number
  /** The part of `cache_write_tokens` that is kept for an hour. */
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

/** Decimal places of a rate, a factor, and seconds of audio. */
const RATE_DIGITS = 12
const FACTOR_DIGITS = 9
const SECOND_DIGITS = 3
const FACTOR_ONE = 10n ** BigInt(FACTOR_DIGITS)
/**
 * A rate in USD per million tokens with twelve more digits is an integer of 10^-18 USD per token. A billionth of a dollar has 10^9 of them.
 */
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
 * The cost of a call in whole billionths of a dollar: exact, rounded once, at the end. A call with a price is never free: the minimum is 1.
 *
 * @param tier as named in the answer; standard if it names none, or one without a factor
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
  // No part is larger than its whole.
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
    priceOfSound(usage.audio_seconds, exact.audioSecond) +
    exact.request
  )
}

/** The rates of a call with this much input, with all defaults filled in; USD per million tokens. */
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
    // USD each, whereas rates are USD per million.
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

/** The decimal number that a double prints as, times 10^digits. More digits are rounded to nearest. */
function parseDecimal(value: number, digits: number): bigint {
  const [mantissa = '0', exponent = '0'] = String(value).split('e')
  const [whole = '0', fraction = ''] = mantissa.split('.')
  const shift = Number(exponent) + digits - fraction.length
  const all = BigInt(whole + fraction)
  if (shift >= 0) return all * 10n ** BigInt(shift)
  const scale = 10n ** BigInt(-shift)
  return (all + scale / 2n) / scale
}

function priceOfSound(seconds: number | undefined, rate: bigint): bigint {
  if (!seconds) return 0n
  return (parseDecimal(seconds, SECOND_DIGITS) * rate) / 10n ** BigInt(SECOND_DIGITS)
}

function countOf(tokens: number | undefined): bigint {
  return tokens === undefined || !(tokens > 0) ? 0n : BigInt(Math.floor(tokens))
}

function atMost(count: bigint, most: bigint): bigint {
  return count < most ? count : most < 0n ? 0n : most
}
