import type { Lane } from '../config/lanes.ts'
import type { GateLane } from './addresses.ts'
import type { CallOutcome, CallSource } from './breaker.ts'
import type { CallTiming } from './concurrency.ts'
import type { LaneState, ServiceTier } from './lane-state.ts'
import type { Amounts } from './limits.ts'

/** What one provider request takes from its lane. The gate rounds fractions up. */
export type Cost = {
  requests: number
  tokens: number
  inputTokens: number
  outputTokens: number
  /** Images to generate, and seconds of audio to transcribe; absent: none. */
  images?: number
  audioSeconds?: number
}

/** A call that needs a permit. */
export type PermitRequest = {
  cost: Cost
  /** The tenant of the call; '' and absent: none, or several tenants share the call. */
  tenant?: string
  /** The source that the call must go to; '' and absent: any. The gate ignores a name that the lane does not have. */
  source?: string
  /** The tier of service that the call asks for; absent: standard. */
  tier?: ServiceTier
}

export type LaneWaitingFor = 'requests' | 'tokens' | 'concurrency' | 'provider_pause'

export type TakeAnswer = {
  /** One for each granted request: the longest prefix of the requests that may leave now. */
  permits: string[]
  /** Ms until the next request may pass; 0 when all passed, Infinity when it never will. */
  waitMs: number
  /** What that request waits for longest; null when all passed. */
  waitingFor: LaneWaitingFor | null
  /** The next request is larger than its lane can ever admit. */
  never: boolean
  /** The breaker holds the next call back because of its tenant: calls of other tenants may leave. */
  othersMay?: true
  /** The tier of the next call holds it back: calls of other tiers may leave. */
  otherTiersMay?: true
}

/** What a provider's answer reports about the lane, as `providers/` reads it from the headers. */
type LaneFeedback = {
  limitRequests?: number
  limitTokens?: number
  remainingRequests?: number
  remainingTokens?: number
}

export type Settlement = {
  permit: string
  /** What the provider counts for the call; null: the call was never sent, and the gate refunds everything. */
  actual: Cost | null
  feedback?: LaneFeedback
  /**
   * The provider answered 429: the lane pauses for this long, ms, for every process. A pause lasts at most an hour; after a longer
   * one that the provider asked for, one call at a time tests whether it is over.
   */
  throttledMs?: number
  throttledReason?: string
  /** The source refused the key, the account or the permission: it is shut for this long, ms, for every process. A lane without sources ignores it. */
  shutMs?: number
  shutReason?: string
  /**
   * How the call ended, for the breaker: `broken` is a 5xx, a time-out or a connection failure. Null and absent say
   * nothing. A 429 says nothing either, with any value here.
   */
  outcome?: CallOutcome
  /** What the call tells about a server of unknown capacity; absent: nothing. */
  timing?: CallTiming
  /** The source of the call; absent: unknown. */
  source?: CallSource
  /**
   * Tokens that the call used. Set it where the provider's kind does not tell whether estimates or used tokens count: then `actual` has
   * the estimate, and the bucket learns which of the two counts. Absent: `actual` counts.
   */
  usedTokens?: number
  /** The tier that the call asked for. The call counts for the pause, the breaker and the pace of this tier. Absent: standard. */
  tier?: ServiceTier
}

/** `keys` and `args` are the lane's, for `open_gate`. `amounts`: what the call takes, as the gate counts it. */
export type PreparedTake = { keys: string[]; args: (string | number)[]; amounts: Amounts }

/**
 * The only way to a provider: nothing is sent without a permit. The gate takes a permit from the lane's own limits and from every
 * shared limit that names the lane, from all of them or from none. All state is in Redis. Every method is one script and
 * one round trip. Any number of processes may share a lane. Errors are those of ioredis.
 */
export type Gate = {
  /**
   * Takes permits for as many of the requests, in order, as may leave now. A permit keeps its slot until you settle it or its lease
   * ends. Throws `RangeError` for a cost that is negative or not finite.
   */
  take(lane: Lane, requests: readonly PermitRequest[]): Promise<TakeAnswer>
  /**
   * Builds what a script with `open_gate` of scripts.ts needs to take the permit of a call.
   *
   * @param permitMs how long the permit lasts until its first renewal, ms
   */
  prepareTake(lane: Lane, cost: Cost, permitMs: number): Promise<PreparedTake>
  /** Frees permits and books what their calls really used. A permit settles once; later settlements of it change nothing. */
  settle(lane: Lane, settlements: Settlement[]): Promise<void>
  /** Extends the leases of running calls; call it at least every half lease. */
  renew(lane: GateLane, permits: string[]): Promise<void>
  /** Lets nothing leave for this long, ms (Infinity: until resumed). Never shortens a current pause. */
  pause(lane: Lane, forMs: number, reason: string): Promise<void>
  /** Ends a pause of any kind and closes the breaker. */
  resume(lane: Lane): Promise<void>
  /**
   * Books `count` retries before they are scheduled, so that retries stay at most a fifth of the lane's traffic. Returns the delay
   * of each beyond its own back-off, 0 to ten minutes, ms. Do not book retries after a 429.
   *
   * @param tenant their tenant: the bookings of one tenant do not delay another's
   */
  retry(lane: Lane, count: number, tenant?: string): Promise<number[]>
  read(lane: Lane): Promise<LaneState>
  /** Deletes a lane that is no longer in use. State that still counts stays for a day, or as long as the lane is paused. */
  forget(lane: Lane): Promise<void>
}
