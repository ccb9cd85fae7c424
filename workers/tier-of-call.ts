import type { Lane } from '../config/lanes.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { Tier } from '../jobs/job.ts'
import type { EntryMark, Held } from '../jobs/queue-entry.ts'
import type { JsonObject } from '../lib/json.ts'
import { readServiceTier } from '../providers/service-tier.ts'
import { type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'
import type { ClaimedJob } from './claimed-job.ts'

/** While the usual time of calls at flex is not known, a call is made at flex if this share of its time-out is left. */
const LEAST_SHARE = 1 / 10

/** A job with a deadline that met no capacity waits this share of its remaining time at flex before it asks again. */
const SHARE_OF_WAIT = 1 / 8

/** The tier of service that a call asks its provider for. */
export type CallTier = {
  tier: Tier
  /** See ProviderRequest. */
  serviceTier?: 'flex' | null
  /** How long the call may take, ms, if its jobs do not say. */
  timeoutMs?: number
  /** Its time is shorter because its job has to be sent at standard afterwards. */
  isCut?: true
}

/** The tier that these entries ask for. Entries at flex share no request, so the first entry decides. */
export function askedTier(held: readonly Pick<Held, 'cost' | 'fallsBackAt'>[], now: number): Tier {
  const { cost, fallsBackAt = null } = held[0] ?? {}
  if (fallsBackAt !== null && now >= fallsBackAt) return 'standard'
  if (cost?.tier === 'flex') return 'flex'
  const until = cost?.tier === 'auto' ? cost.flex?.until : undefined
  return until === undefined || (until !== null && now >= until) ? 'standard' : 'flex'
}

/** The tier of service that a call with these entries will ask for, as far as that is known before they are claimed. */
export function tierToTake(held: readonly Pick<Held, 'cost' | 'fallsBackAt'>[], now: number): ServiceTier {
  if (askedTier(held, now) === 'flex') return 'flex'
  const cost = held[0]?.cost
  const isChosen = cost?.tier === 'flex' || (cost?.tier === 'auto' && cost.flex !== undefined)
  return isChosen ? STANDARD : (cost?.serviceTier ?? STANDARD)
}

/** The tier of service that a call asked for. */
export function tierSent({ tier, serviceTier }: CallTier, body: JsonObject): ServiceTier {
  if (tier === 'flex') return 'flex'
  return serviceTier === null ? STANDARD : (readServiceTier(body) ?? STANDARD)
}

/**
 * When an entry comes back whose tier is shut until `until`, and what is stored with it for that. An entry that waits
 * for flex comes back when it has to go at standard instead: at the time that it knows, or after it was put off for
 * `fall_back_after` in all. Times are Unix ms.
 *
 * @param isCounted whether this wait counts: the tier is known to be shut, and not only slowed down
 */
export function putOffEntry(
  held: Held,
  lane: Pick<Lane, 'tiers'>,
  now: number,
  until: number,
  isCounted: boolean,
): { at: number; mark?: EntryMark } {
  if (askedTier([held], now) !== 'flex') return { at: until }
  const { cost, fallsBackAt, bull } = held
  const known = (cost.tier === 'auto' ? cost.flex?.until : null) ?? fallsBackAt
  if (known !== null) return { at: Math.min(until, known) }
  const flex = lane.tiers?.flex
  if (!flex || !isCounted) return { at: until }
  const putOffMs = bull?.data.putOffMs ?? 0
  const backAt = now + Math.max(0, flex.fall_back_after - putOffMs)
  if (until >= backAt) return { at: backAt, mark: { fallsBackAt: backAt } }
  return { at: until, mark: { putOffMs: putOffMs + until - now } }
}

/**
 * Decides the tier of a call:
 * - A job of tier `flex`, or of tier `auto` without a deadline, goes at flex until `fall_back_after` its first call,
 *   and at standard from then on or if its lane has no flex.
 * - A job of tier `auto` with a deadline goes at flex if such a call would end before the job has to go at standard.
 *
 * @param now Unix ms, by Redis' clock
 * @param usualMs how long most calls at flex take here, ms; null: not known
 */
export function decideTier(
  lane: Lane,
  claimedJobs: readonly ClaimedJob[],
  now: number,
  usualMs: number | null,
): CallTier {
  const { claimed, held } = claimedJobs[0]!
  const { tier, flex: plan } = claimed.cost
  if (tier !== 'flex' && (tier !== 'auto' || plan === undefined)) return { tier: 'standard' }
  const flex = lane.tiers?.flex ?? null
  const until = tier === 'auto' ? (plan?.until ?? null) : null
  const timeoutMs = plan?.timeout ?? claimed.timeoutMs
  const left = until === null ? Number.POSITIVE_INFINITY : until - now
  const needed = usualMs ?? (flex === null ? 0 : Math.min(flex.timeout, timeoutMs) * LEAST_SHARE)
  // The first call of a job without a deadline is always at flex.
  const hasFallenBack = held.fallsBackAt !== null && now >= held.fallsBackAt
  const isLate =
    hasFallenBack || (until === null ? claimed.call > 1 && now >= fallBackAt(lane, claimed) : left < needed)
  if (flex === null || isLate) return { tier: 'standard', serviceTier: null }
  const asked = { tier, serviceTier: 'flex' } as const
  if (tier === 'flex') return asked
  return left < timeoutMs
    ? { ...asked, tier: 'flex', timeoutMs: left, isCut: true }
    : { ...asked, tier: 'flex', timeoutMs }
}

/**
 * When a job for which flex had no capacity asks for flex again, Unix ms. That is when the tier's back-off ends, but
 * not before the job has waited a share of the time that it may spend at flex. So jobs with much time leave the lane's
 * limits to others. It is never later than the time at which the job goes at standard.
 */
export function nextTryAtFlex(
  lane: Pick<Lane, 'tiers'>,
  claimed: Pick<Claimed, 'cost' | 'firstStartedAt'>,
  now: number,
  backedOffUntil: number,
): number {
  const fallsBackAt = Math.max(now, fallBackAt(lane, claimed))
  const until = claimed.cost.tier === 'auto' ? (claimed.cost.flex?.until ?? null) : null
  const patient = until === null ? now : now + (until - now) * SHARE_OF_WAIT
  return Math.min(Math.max(backedOffUntil, patient), fallsBackAt)
}

/** When a job at flex goes at standard instead, Unix ms; Infinity for other jobs. */
export function fallBackAt(
  lane: Pick<Lane, 'tiers'>,
  claimed: Pick<Claimed, 'cost' | 'firstStartedAt'>,
): number {
  const { tier, flex: plan } = claimed.cost
  if (tier === 'auto' && plan && plan.until !== null) return plan.until
  const flex = tier === 'flex' || (tier === 'auto' && plan) ? lane.tiers?.flex : null
  return flex ? claimed.firstStartedAt + flex.fall_back_after : Number.POSITIVE_INFINITY
}
