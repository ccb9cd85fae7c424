import type { Lane } from '../config/lanes.ts'
import type { Tier } from '../jobs/job.ts'
import type { Held } from '../jobs/queue.ts'
import type { Claimed } from '../jobs/work.ts'
import type { ClaimedJob } from './claimed-job.ts'

/** The tier of service that a call asks its provider for. */
export type CallTier = {
  tier: Tier
  /** See ProviderRequest. */
  serviceTier?: 'flex' | null
}

/** The tier that entries ask for: flex goes alone, so that of the first stands for all. */
export function askedTier(held: readonly Held[]): Tier {
  return held[0]?.cost.tier === 'flex' ? 'flex' : 'standard'
}

/**
 * Jobs of tier `flex` go at flex until `fall_back_after` their first call, and at standard from then on, or on a lane that has no flex.
 *
 * @param now Unix ms, by Redis' clock
 */
export function decideTier(lane: Lane, claimedJobs: readonly ClaimedJob[], now: number): CallTier {
  const { claimed } = claimedJobs[0]!
  if (claimed.cost.tier !== 'flex') return { tier: 'standard' }
  const flex = lane.tiers?.flex ?? null
  if (flex === null) return { tier: 'standard', serviceTier: null }
  // The first call is at flex in any case.
  return claimed.call > 1 && now >= fallBackAt(lane, claimed)
    ? { tier: 'standard', serviceTier: null }
    : { tier: 'flex', serviceTier: 'flex' }
}

/** When a job of tier `flex` goes at standard instead, Unix ms; Infinity for other jobs. */
export function fallBackAt(
  lane: Pick<Lane, 'tiers'>,
  claimed: Pick<Claimed, 'cost' | 'firstStartedAt'>,
): number {
  const flex = claimed.cost.tier === 'flex' ? lane.tiers?.flex : null
  return flex ? claimed.firstStartedAt + flex.fall_back_after : Number.POSITIVE_INFINITY
}
