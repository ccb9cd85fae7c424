import type { JsonObject } from '../lib/json.ts'

/**
 * The tier of service, other than the standard one, that a request names: `flex`, or what its provider calls its fastest. Null for the
 * standard tier, and for what lets the provider choose (`auto`).
 */
export function readServiceTier({ service_tier: tier }: JsonObject): 'flex' | 'priority' | null {
  if (tier === 'flex') return 'flex'
  return tier === 'priority' || tier === 'performance' ? 'priority' : null
}
