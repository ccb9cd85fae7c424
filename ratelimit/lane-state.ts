import type { BreakerState } from './breaker.ts'
import type { Amounts, Bounds, LearnedLimits } from './limits.ts'

export type TokenCounting = 'estimate' | 'trying' | 'used'

/** One value for each counted dimension. */
export type Quantities<T> = { requests: T; tokens: T; inputTokens: T; outputTokens: T }

/** The state of a lane, of the shared limits that name it, and of its sources. With sources, the lane's state is that of all of them together. */
export type LaneState = BucketState & { shared: NamedState[]; sources: NamedState[] }
export type NamedState = BucketState & { name: string }

/** Tiers of service with pauses and breakers of their own. Any other tier that a request names counts as standard. */
export const SERVICE_TIERS = ['standard', 'flex', 'priority'] as const
export type ServiceTier = (typeof SERVICE_TIERS)[number]
export const STANDARD = 'standard'

/** The state of a tier of service. Times are Unix ms on Redis' clock. */
export type TierState = {
  /** Null when the tier is open. */
  pausedUntil: number | null
  pausedReason: string | null
  breaker: LaneBreaker
  /** Share of the rate in use, below 1 while the tier recovers from a 429. */
  speed: number
}
export type NamedTier = TierState & { name: string }

/** The state of a bucket, for people and metrics. In a dimension without a limit, level, rate and capacity are null. */
export type BucketState = TierState & {
  /** Tiers other than standard that had a 429 or a broken call, by name. The pause, breaker and speed of standard are the bucket's. */
  tiers: NamedTier[]
  /** Redis' clock at the reading, unix ms. */
  at: number
  /** Level of the pacing bucket: at 0 and more the next call may leave; below 0 is a debt that the refill pays off first. */
  levels: Quantities<number | null>
  /** Effective rates per minute: with headroom and learned limits, without the slowdown after a 429. */
  rates: Quantities<number | null>
  /** Amounts taken in the provider's current window, and the most that any window may hold. */
  used: Quantities<number>
  capacities: Quantities<number | null>
  /** The same for requests and 24 hours. */
  usedToday: number
  capacityToday: number | null
  /** Permits whose lease has not ended. */
  inFlight: number
  /** Limits that the provider reported, if lower than the configured ones. `at`: Unix ms of the last report. */
  learned: LearnedLimits
  /** How many calls at once a lane with `max_concurrency: auto` has found; null for other lanes. */
  learnedConcurrency: number | null
  /** Counters that only grow: everything taken, and everything refunded. */
  taken: Quantities<number>
  refunded: Quantities<number>
  /** 429s. */
  throttled: number
  /** If the window is learned: the window that the lane paces for now, ms; null if it is configured. */
  learnedWindow: number | null
  /** What a call counts, if that is learned: its estimate, or used tokens, or used tokens on trial; null: not learned yet. */
  counting: TokenCounting | null
  /** A source that refused a call: until when it gets no calls (Unix ms on Redis' clock; in the past: until one trial is answered), and why. */
  shut: { till: number; reason: string } | null
}

/**
 * While the breaker is open, tenants whose calls broke must wait. Half-open, it lets one of their calls through at a time. Every
 * other tenant may always have one call at a time.
 */
export type LaneBreaker = {
  state: BreakerState
  /** Broken calls in a row. */
  failures: number
  /** Unix ms on Redis' clock; null unless it is open. */
  openUntil: number | null
  /** Tenants whose calls it holds back. */
  heldTenants: string[]
  /** Tenants with a running call that shows whether the provider works. */
  triedTenants: string[]
}

type TierStateJson = Omit<TierState, 'pausedReason'> & { pausedReason: string }

/** The answer of `lua/read.lua`: dimensions in the order of `Amounts`, times on Redis' clock. */
type LaneStateJson = TierStateJson & {
  tiers: (TierStateJson & { name: string })[]
  at: number
  levels: Bounds
  rates: Bounds
  used: Amounts
  capacities: Bounds
  usedToday: number
  capacityToday: number | null
  inFlight: number
  learned: LearnedLimits
  taken: Amounts
  refunded: Amounts
  throttled: number
  learnedWindow: number | null
  counting: TokenCounting | null
  shut: BucketState['shut']
}

/** Reads the answer of `lua/read.lua`: the states of the buckets, in the order in which the script got them. */
export function readBucketStates(json: string): BucketState[] {
  return (JSON.parse(json) as LaneStateJson[]).map(toBucketState)
}

function toBucketState(state: LaneStateJson): BucketState {
  return {
    ...state,
    learnedConcurrency: null,
    levels: toQuantities(state.levels),
    rates: toQuantities(state.rates),
    used: toQuantities(state.used),
    capacities: toQuantities(state.capacities),
    ...toTier(state),
    tiers: toList(state.tiers)
      .map((tier) => ({ name: tier.name, ...toTier(tier) }))
      .sort((one, other) => (one.name < other.name ? -1 : 1)),
    taken: toQuantities(state.taken),
    refunded: toQuantities(state.refunded),
  }
}

function toTier({ pausedUntil, pausedReason, breaker, speed }: TierStateJson): TierState {
  return {
    pausedUntil,
    pausedReason: pausedUntil === null ? null : pausedReason,
    breaker: {
      ...breaker,
      heldTenants: toList(breaker.heldTenants),
      triedTenants: toList(breaker.triedTenants),
    },
    speed,
  }
}

/** Lua encodes an empty list as an empty object. */
function toList<T>(list: T[]): T[] {
  return Array.isArray(list) ? list : []
}

/** Names the places of `Amounts` or `Bounds`. */
export function toQuantities<T>([requests, tokens, inputTokens, outputTokens]: [T, T, T, T]): Quantities<T> {
  return { requests, tokens, inputTokens, outputTokens }
}
