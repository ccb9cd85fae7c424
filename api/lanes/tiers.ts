import type { BucketState } from '../../ratelimit/lane-state.ts'

/** A tier of service other than standard, whose pause and breaker are kept apart. Times are RFC 3339. */
export type TierView = {
  name: string
  paused_until: string | null
  paused_reason: string | null
  /** Share of the rate in use, below 1 while the tier recovers from a 429. */
  speed: number
  breaker: { state: 'closed' | 'open' | 'half_open'; failures: number; held_tenants: string[] }
}

/**
 * The tiers that met a 429 or a broken call, by name. Of several buckets that a call takes from, the one that is paused longest counts, and
 * the slowest.
 *
 * @param own the lane's or the source's, which has the breakers
 * @param shared those of its shared limits
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
