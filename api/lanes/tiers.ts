import type { BucketState } from '../../ratelimit/lane-state.ts'

/** A service tier other than standard, with its own pause and breaker. Times are RFC 3339. */
export type TierView = {
  name: string
  paused_until: string | null
  paused_reason: string | null
  /** Share of the rate in use, below 1 while the tier recovers from a 429. */
  speed: number
  breaker: { state: 'closed' | 'open' | 'half_open'; failures: number; held_tenants: string[] }
}

/**
 * The tiers that met a 429 or a broken call, by name. A call takes from several buckets: the longest pause and the slowest speed count.
 *
 * @param own the bucket of the lane or source, which has the breakers
 * @param shared the buckets of its shared limits
 */
export function showTiers(own: BucketState, shared: readonly BucketState[] = []): TierView[] {
  const all = [own, ...shared]
  const names = new Set(all.flatMap(({ tiers }) => tiers.map(({ name }) => name)))
  return [...names].sort().map((name) => {
    const found = all.flatMap(({ tiers }) => tiers.filter((tier) => tier.name === name))
    const longest = found.reduce((one, other) =>
      (other.pausedUntil ?? 0) > (one.pausedUntil ?? 0) ? other : one,
    )
    const breaker = own.tiers.find((tier) => tier.name === name)?.breaker
    return {
      name,
      paused_until: longest.pausedUntil === null ? null : new Date(longest.pausedUntil).toISOString(),
      paused_reason: longest.pausedReason,
      speed: Math.min(...found.map(({ speed }) => speed)),
      breaker: {
        state: breaker?.state ?? 'closed',
        failures: breaker?.failures ?? 0,
        held_tenants: breaker?.heldTenants ?? [],
      },
    }
  })
}
