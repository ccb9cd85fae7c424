import type { Price, Rates } from '../lib/price.ts'
import { findPublishedPrice } from './price-catalogue.ts'
import type { PriceSettings } from './price-schema.ts'
import type { ProviderKind } from './provider-kind.ts'

/**
 * The price of service tiers as a factor of the standard price (pages "Flex processing", "Batch", "Priority processing" of OpenAI and Azure
 * OpenAI; "Batch processing" of Anthropic; "Flex inference", "Batch mode" of Gemini).
 */
const KIND_TIERS: Partial<Record<ProviderKind, Readonly<Record<string, number>>>> = {
  openai: { flex: 0.5, batch: 0.5, priority: 2 },
  'azure-openai': { flex: 0.5, batch: 0.5, priority: 2 },
  anthropic: { batch: 0.5 },
  gemini: { flex: 0.5, batch: 0.5, priority: 2 },
}

/** Gemini's priority inference costs 75 to 100 % more than standard (page "Optimization and inference"), 80 % with the models of 2.5. */
const GEMINI_PRIORITY: readonly [begins: RegExp, factor: number][] = [[/^gemini-2\.5-/, 1.8]]

/**
 * OpenAI's priority processing where it is not twice the standard price (page "Priority processing": gpt-5-mini $0.45 instead of $0.25,
 * o4-mini $2.00 instead of $1.10, and so on). By the beginning of the model's name; the first match counts.
 */
const PRIORITY: readonly [begins: RegExp, factor: number][] = [
  [/^gpt-5-mini/, 1.8],
  [/^gpt-4\.1-nano/, 2],
  [/^gpt-4\.1/, 1.75],
  [/^gpt-4o-mini/, 5 / 3],
  [/^gpt-4o-2024-05-13/, 1.75],
  [/^gpt-4o/, 1.7],
  [/^o3(-\d|$)/, 1.75],
  [/^o4-mini/, 20 / 11],
]

function tiersOf(kind: ProviderKind, model: string): Readonly<Record<string, number>> | undefined {
  const tiers = KIND_TIERS[kind]
  const isOpenAi = kind === 'openai' || kind === 'azure-openai'
  const factors = isOpenAi ? PRIORITY : kind === 'gemini' ? GEMINI_PRIORITY : []
  const found = factors.find(([begins]) => begins.test(model))
  return found === undefined ? tiers : { ...tiers, priority: found[1] }
}

/** Rates that change in proportion to another one if only that one is configured. */
const FOLLOWS: Record<Exclude<keyof Rates, 'input' | 'output'>, 'input' | 'output'> = {
  cached_input: 'input',
  cache_write: 'input',
  cache_write_1h: 'input',
  audio_input: 'input',
  audio_output: 'output',
}

/** Prices are looked up again after this time, because published prices have start dates. */
const KEPT_MS = 3_600_000
/** Clients choose the names of models that only "*" matches. */
const MOST_KEPT = 5000

export type PricedModel = {
  kind: ProviderKind
  baseUrl: string
  /** Its name, or the value of `price_as`. */
  model: string
  settings: PriceSettings | undefined
}

const kept = new Map<string, { price: Price | null; at: number }>()

/**
 * The price of a model: by the catalogue, by hand, or by hand over the catalogue. Null: unknown. Returns the same object for the same
 * arguments for an hour.
 */
export function resolvePrice(asked: PricedModel): Price | null {
  const { kind, settings } = asked
  if (settings === undefined && kind === 'openai-compatible') return null
  const key = JSON.stringify([kind, asked.baseUrl, asked.model, settings])
  const known = kept.get(key)
  const now = performance.now()
  if (known !== undefined && now - known.at < KEPT_MS) return known.price
  const looksUp = settings === undefined || settings === 'auto' || kind !== 'openai-compatible'
  const published = looksUp ? findPublishedPrice(kind, asked.model, asked.baseUrl) : null
  const price = merge(tiersOf(kind, asked.model), published, settings)
  if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value ?? '')
  kept.set(key, { price, at: now })
  return price
}

function merge(
  usual: Readonly<Record<string, number>> | undefined,
  published: Price | null,
  settings: PriceSettings | undefined,
): Price | null {
  const byHand = settings === undefined || settings === 'auto' ? {} : settings
  const names = Object.keys(byHand)
  const saysRates = names.some((name) => name !== 'tiers' && name !== 'above')
  if (published === null && !saysRates) return null
  const tiers = { ...usual, ...byHand.tiers }
  const { above: steps, tiers: _, ...own } = byHand
  const base = published ?? { input: 0, output: 0 }
  const price: Price = { ...scale(base, base, own), ...dropUndefined(own) }
  const above = steps === undefined ? base.above?.map((step) => ({ ...scale(step, base, own) })) : steps
  if (above !== undefined) {
    price.above = above.map((step) => dropUndefined(step) as NonNullable<Price['above']>[number])
  }
  if (steps === undefined && price.above !== undefined) price.above = keepOwn(price.above, own)
  if (Object.keys(tiers).length > 0) price.tiers = tiers
  return price
}

/**
 * Scales the published rates in proportion to the configured ones: a discount on `input` also applies to cached input, and to the steps of
 * long inputs.
 */
function scale<Some extends Partial<Rates>>(
  rates: Some,
  base: Rates,
  own: Partial<Record<keyof Rates, number | undefined>>,
): Some {
  const scaled: Some = { ...rates }
  for (const name of Object.keys(rates) as (keyof Rates)[]) {
    const follows = name === 'input' || name === 'output' ? name : FOLLOWS[name]
    if (follows === undefined) continue
    const given = own[follows]
    const rate = rates[name]
    if (given === undefined || rate === undefined || base[follows] === 0) continue
    scaled[name] = Number(((rate / base[follows]) * given).toPrecision(12)) as Some[keyof Rates]
  }
  return scaled
}

/** A configured rate other than `input` and `output` also applies to long inputs, unless steps are configured. */
function keepOwn(
  above: NonNullable<Price['above']>,
  own: Partial<Record<keyof Rates, number | undefined>>,
): NonNullable<Price['above']> {
  const fixed = (Object.keys(FOLLOWS) as (keyof typeof FOLLOWS)[]).filter((name) => own[name] !== undefined)
  return above.map((step) => {
    const kept = { ...step }
    for (const name of fixed) delete kept[name]
    return kept
  })
}

function dropUndefined<Some extends object>(members: Some): Some {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Some
}
