import type { JsonObject } from '../lib/json.ts'

/**
 * The non-standard service tier that a request names: `flex`, or `priority` for its provider's fastest. Null for the standard tier and for
 * `auto`.
 */
export function readServiceTier({ service_tier: tier }: JsonObject): 'flex' | 'priority' | null {
  if (tier === 'flex') return 'flex'
  return tier === 'priority' || tier === 'performance' ? 'priority' : null
}
