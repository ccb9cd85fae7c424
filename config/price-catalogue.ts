import { createRequire } from 'node:module'
import type { Price, Rates } from '../lib/price.ts'
import type { ProviderKind } from './provider-kind.ts'

/** The used part of the package. It is loaded on first use: 25 ms and 5 MB that a configuration with its own prices does not need. */
type Catalogue = Pick<typeof import('@pydantic/genai-prices'), 'calcPrice'>

const require = createRequire(import.meta.url)
let loaded: Catalogue | null = null

/** The catalogue's providers by kind. An `openai-compatible` provider is found by its address. */
const CATALOGUE_IDS: Partial<Record<ProviderKind, string>> = {
  openai: 'openai',
  'azure-openai': 'azure',
  anthropic: 'anthropic',
  gemini: 'google',
}

/** The catalogue's names of our rates. */
const RATE_KEYS: Record<keyof Rates, string> = {
  input: 'input_mtok',
  output: 'output_mtok',
  cached_input: 'cache_read_mtok',
  cache_write: 'cache_write_mtok',
  cache_write_1h: 'cache_write_1h_mtok',
  audio_input: 'input_audio_mtok',
  audio_output: 'output_audio_mtok',
}

type CataloguePrice = number | { base: number; tiers: { start: number; price: number }[] }

/**
 * The currently published price of a model; null if the catalogue has none. Makes no network requests.
 *
 * @param baseUrl of the provider, which identifies it if the kind does not
 */
export function findPublishedPrice(kind: ProviderKind, model: string, baseUrl: string): Price | null {
  loaded ??= require('@pydantic/genai-prices') as Catalogue
  const providerId = CATALOGUE_IDS[kind]
  const whose = providerId === undefined ? { providerApiUrl: baseUrl } : { providerId }
  const found = calculate(loaded, model, whose)
  if (found === null) return null
  const price: Price = { input: 0, output: 0 }
  const steps = new Map<number, Partial<Rates>>()
  for (const [name, key] of Object.entries(RATE_KEYS) as [keyof Rates, string][]) {
    const rate = found[key] as CataloguePrice | undefined
    if (rate === undefined) continue
    price[name] = typeof rate === 'number' ? rate : rate.base
    if (typeof rate === 'number') continue
    for (const step of rate.tiers) steps.set(step.start, { ...steps.get(step.start), [name]: step.price })
  }
  const above = [...steps]
    .sort(([a], [b]) => a - b)
    .map(([input_tokens, rates]) => ({ input_tokens, ...rates }))
  if (above.length > 0) price.above = carryOn(above)
  const requests = found.requests_kcount as CataloguePrice | undefined
  if (typeof requests === 'number') price.request = Number((requests / 1000).toPrecision(12))
  const seconds = found.audio_hours ?? found.input_audio_hours
  if (typeof seconds === 'number') price.audio_second = Number((seconds / 3600).toPrecision(12))
  return price
}

/** The steps of several rates may start at different points: the value of an earlier step continues. */
function carryOn(above: NonNullable<Price['above']>): NonNullable<Price['above']> {
  let before: Partial<Rates> = {}
  return above.map((step) => {
    before = { ...before, ...step }
    return { ...before, ...step }
  })
}

function calculate(
  { calcPrice }: Catalogue,
  model: string,
  whose: { providerId: string } | { providerApiUrl: string },
): Readonly<Record<string, unknown>> | null {
  try {
    // Without usage, because only the rates are needed.
    return calcPrice({ input_tokens: 0, output_tokens: 0 }, model, whose)?.model_price ?? null
  } catch {
    return null // an entry that the package itself cannot process
  }
}
