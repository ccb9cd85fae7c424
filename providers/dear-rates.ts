import type { JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { type Price, ratesFor } from '../lib/price.ts'

/**
 * Rates over those of plain input and output that a request may be billed at: for what is written to a prompt cache, where it asks for
 * that or the provider does it anyway, and for audio. A text that only looks like it counts as well: the estimate is then too high by
 * the difference.
 */
export function findDearRates(
  price: Price,
  body: JsonObject,
): ('cache_write' | 'cache_write_1h' | 'audio')[] {
  const rates = ratesFor(price, 0)
  const found: ReturnType<typeof findDearRates> = []
  const writesCost = rates.cache_write > rates.input || rates.cache_write_1h > rates.input
  const hearsCost = rates.audio_input > rates.input || rates.audio_output > rates.output
  if (!writesCost && !hearsCost) return found
  const text = sourceOf(body)
  // Where a longer cache is on sale, the request marks what is written; elsewhere the provider decides.
  const asksForLong = price.cache_write_1h !== undefined
  if (writesCost && (!asksForLong || text.includes('"cache_control"'))) {
    found.push(/"ttl"\s*:\s*"1h"/.test(text) ? 'cache_write_1h' : 'cache_write')
  }
  if (hearsCost && (text.includes('"input_audio"') || text.includes('"audio"'))) found.push('audio')
  return found
}
