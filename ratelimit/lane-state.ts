import type { BreakerState } from './breaker.ts'
import type { Amounts, Bounds, LearnedLimits } from './limits.ts'

export type TokenCounting = 'estimate' | 'trying' | 'used'

/** One value for each counted dimension. */
export type Quantities<T> = { requests: T; tokens: T; inputTokens: T; outputTokens: T }

/** The state of a lane, of the shared limits that name it, and of its sources. With sources, the lane's is that of all of them. */
export type LaneState = BucketState & { shared: NamedState[]; sources: NamedState[] }
export type NamedState = BucketState & { name: string }

/** Tiers of service whose pauses and breakers are kept apart. Any other tier that a request names counts as standard. */
export const SERVICE_TIERS = ['standard', 'flex', 'priority'] as const
export type ServiceTier = (typeof SERVICE_TIERS)[number]
export const STANDARD = 'standard'

/** What is kept of a tier of service. Times are Unix ms on Redis' clock. */
export type TierState = {
  /** Null when the tier is open. */
  pausedUntil: number | null
  pausedReason: string | null
  breaker: LaneBreaker
  /** Share of the rate in use, below 1 while the tier recovers from a 429. */
  speed: number
}
export type NamedTier = TierState & { name: string }

/** The state of one bucket, for people and metrics. In a dimension without a limit, level, rate and capacity are null. */
export type BucketState = TierState & {
  /** Tiers other than standard that met a 429 or a broken call, by name; standard's pause, breaker and speed are the bucket's. */
  tiers: NamedTier[]
  /** Redis' clock at the reading, unix ms. */
  at: number
  /** Level of the pacing bucket: 0 and more lets the next call leave; below 0 is a debt that the refill pays off first. */
  levels: Quantities<number | null>
  /** Effective rates a minute: with headroom and learned limits, without the slowdown after a 429. */
  rates: Quantities<number | null>
  /** Amounts taken in the provider's current window, and the most for any window. */
  used: Quantities<number>
  capacities: Quantities<number | null>
  /** The same for requests and 24 hours. */
  usedToday: number
  capacityToday: number | null
  /** Permits whose lease has not ended. */
  inFlight: number
  /** Limits that the provider reported, lower than the configured ones. `at`: unix ms of the last report. */
  learned: LearnedLimits
  /** Calls at once that a lane with `max_concurrency: auto` has found; null elsewhere. */
  learnedConcurrency: number | null
  /** Counters that only grow: everything taken, and everything given back. */
  taken: Quantities<number>
  refunded: Quantities<number>
  /** 429s. */
  throttled: number
  /** Where the window is learned: the one that the lane paces for now, ms; null where it is configured. */
  learnedWindow: number | null
  /** What a call counts in the end, where that is learned: its estimate, or what it used, or the latter as a trial; null: not yet. */
  counting: TokenCounting | null
  /** Of a source that refused us: until when it is asked nothing (Unix ms on Redis' clock; past: until one call is answered), and why. */
  shut: { till: number; reason: string } | null
}

/**
 * While it is open, tenants whose calls broke have to wait; half-open, it lets one of their calls through at a time. Every
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
  /** Tenants with a call under way that shows whether the provider works. */
  triedTenants: string[]
}

type TierStateJson = Omit<TierState, 'pausedReason'> & { pausedReason: string }

/** The answer of `lua/read.lua`: dimensions in the order of `Amounts`, times already on Redis' clock. */
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

/** Reads the answer of `lua/read.lua`: the states of the buckets, in the order in which the script was given them. */
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

/** An empty list of Lua comes as an empty object. */
function toList<T>(list: T[]): T[] {
  return Array.isArray(list) ? list : []
}

/** Names the places of `Amounts` or `Bounds`. */
export function toQuantities<T>([requests, tokens, inputTokens, outputTokens]: [T, T, T, T]): Quantities<T> {
  return { requests, tokens, inputTokens, outputTokens }
}
