import type { JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { type Price, ratesFor } from '../lib/price.ts'

/**
 * Returns the rates above plain input and output that a request may be billed at: for cache writes, where the request asks for them or the
 * provider makes them anyway, and for audio. Text that only looks like such a member counts too; the estimate is then too high by the
 * difference.
 */
export function findSurcharges(
  price: Price,
  body: JsonObject,
): ('cache_write' | 'cache_write_1h' | 'audio')[] {
  const rates = ratesFor(price, 0)
  const found: ReturnType<typeof findSurcharges> = []
  const writesCost = rates.cache_write > rates.input || rates.cache_write_1h > rates.input
  const hearsCost = rates.audio_input > rates.input || rates.audio_output > rates.output
  if (!writesCost && !hearsCost) return found
  const text = sourceOf(body)
  // Where the provider sells a longer cache, the request marks what to write. Elsewhere the provider decides.
  const asksForLong = price.cache_write_1h !== undefined
  if (writesCost && (!asksForLong || text.includes('"cache_control"'))) {
    found.push(/"ttl"\s*:\s*"1h"/.test(text) ? 'cache_write_1h' : 'cache_write')
  }
  if (hearsCost && (text.includes('"input_audio"') || text.includes('"audio"'))) found.push('audio')
  return found
}
