import type { LaneLimits, LaneSource } from '../../../config/lanes.ts'
import {
  BREAKER_OPEN,
  type Breaker,
  closeBreaker,
  createBreaker,
  findBreakerState,
} from '../../../ratelimit/breaker.ts'
import type { BucketState as ShownState, TierState as ShownTier } from '../../../ratelimit/lane-state.ts'
import { STANDARD, toQuantities } from '../../../ratelimit/lane-state.ts'
import type { Amounts, Bounds, EffectiveLimits, LearnedLimits } from '../../../ratelimit/limits.ts'
import { computeLimits, DAY_MS, DIMENSIONS, REQUESTS } from '../../../ratelimit/limits.ts'
import type { Slowdown } from '../../../ratelimit/slowdown.ts'
import { computeLived, computeSpeed, createSlowdown } from '../../../ratelimit/slowdown.ts'
import {
  findPacing,
  keepLearning,
  type Pacing,
  type WindowLearning,
} from '../../../ratelimit/window-learning.ts'
import type { Claim } from './claim.ts'
import type { Ledger } from './ledger.ts'
import { createLedger, rollLedger } from './ledger.ts'
import { bookRetries, createRetryBudget, type RetryBudget } from './retry-budget.ts'
import type { CountingState } from './token-counting.ts'

/**
 * The arithmetic of the bucket without Redis (here, in take.ts and in settle.ts): each function changes the given
 * state and touches nothing else. `lua/*.lua` does the same, operation for operation, in the same order, so both get
 * the same doubles; the contract suite compares them. `serverNow`: the clock of the state's machine, in ms.
 */
export type BucketState = TierState & {
  /** Logical time of the last call, ms. It never goes back, even if the server's clock does. */
  last: number
  /** Logical time minus the server's clock, ms. */
  skew: number
  /** Permits given so far. */
  sequence: number
  /** Pacing, in requests and tokens. Negative: debt. 0 where there is no limit. */
  levels: Amounts
  window: Ledger
  day: Ledger
  claim: Claim | null
  /** Tiers of service other than standard, whose members are in the state itself. */
  tiers: Map<string, TierState>
  /** Until when every tier is paused by hand. */
  held: { until: number; reason: string } | null
  retries: RetryBudget
  learned: LearnedLimits
  /** Null until the lane learns how its provider counts. */
  windowLearning: WindowLearning | null
  /** Null until a call reports what remains at the provider. */
  counting: CountingState | null
  /** When the call left whose feedback was applied last. */
  observedAt: number
  taken: Amounts
  refunded: Amounts
  throttled: number
  /** Of a source that refused us. */
  shut: Shut | null
  permits: Map<string, Permit>
}

/** The state of each tier of service. */
export type TierState = {
  slowdown: Slowdown
  pausedUntil: number
  pausedReason: string
  /**
   * After a long wait that the provider asked for: the permit of the call that asks whether it is over; null: no call
   * does.
   */
  asking: { probe: string | null } | null
  breaker: Breaker
  /**
   * Logical ms of the next call's turn while the tier is slowed down; null for standard, which slows down the levels
   * that all tiers share.
   */
  nextAt: number | null
}

/** A source that refused us takes nothing until then, and afterwards one call at a time until one is answered. */
export type Shut = { till: number; reason: string; mark: string; probe: string | null }

/** A bucket and its limits; `source`: the lane's source that it belongs to. */
export type Bucket = {
  state: BucketState
  limited: LaneLimits
  source?: Pick<LaneSource, 'name' | 'weight' | 'mark'>
}

export type Permit = {
  leaseEnd: number
  takenAt: number
  cost: Amounts
  /** What the window held when the permit was given, itself included. */
  used: Amounts
  /** Tokens that the last minute held then, itself included; null: not counted. */
  minute: number | null
  /** Tokens that the level gave for it; null: its cost. */
  paced: number | null
  /** Tokens that the ledgers hold for it; null: its cost. */
  guarded: number | null
}

export function createBucket(window: number, now: number): BucketState {
  return {
    last: now,
    skew: 0,
    sequence: 0,
    levels: [0, 0, 0, 0],
    window: createLedger(window, now),
    day: createLedger(DAY_MS, now),
    claim: null,
    ...createTier(null),
    tiers: new Map(),
    held: null,
    retries: createRetryBudget(now),
    learned: { requests: null, tokens: null },
    windowLearning: null,
    counting: null,
    observedAt: -1,
    taken: [0, 0, 0, 0],
    refunded: [0, 0, 0, 0],
    throttled: 0,
    shut: null,
    permits: new Map(),
  }
}

function createTier(nextAt: number | null): TierState {
  return {
    slowdown: createSlowdown(),
    pausedUntil: 0,
    pausedReason: '',
    asking: null,
    breaker: createBreaker(),
    nextAt,
  }
}

/** Undefined: the tier has no state yet. */
export function findTier(state: BucketState, tier: string): TierState | undefined {
  return tier === STANDARD ? state : state.tiers.get(tier)
}

export function needTier(state: BucketState, tier: string): TierState {
  const kept = findTier(state, tier) ?? createTier(0)
  if (tier !== STANDARD) state.tiers.set(tier, kept)
  return kept
}

/** Extends the leases of permits that are not settled. A lapsed lease revives: the call runs, so it counts. */
export function renew(
  state: BucketState,
  lane: LaneLimits,
  { permits, leaseMs, serverNow }: { permits: string[]; leaseMs: number; serverNow: number },
): void {
  const { now } = advance(state, lane, serverNow)
  for (const id of permits) {
    const permit = state.permits.get(id)
    if (permit) permit.leaseEnd = Math.ceil(now + leaseMs)
  }
}

export function pause(
  state: BucketState,
  lane: LaneLimits,
  { forMs, reason, serverNow }: { forMs: number; reason: string; serverNow: number },
): void {
  const { now } = advance(state, lane, serverNow)
  extendPause(state, now + forMs, reason)
  if (now + forMs > (state.held?.until ?? 0)) state.held = { until: now + forMs, reason }
}

/** Ends a pause of any kind and closes the breaker. Recovery from a 429, due at the end of the pause, begins now. */
export function resume(state: BucketState, lane: LaneLimits, serverNow: number): void {
  const { now } = advance(state, lane, serverNow)
  for (const tier of [state, ...state.tiers.values()]) {
    tier.pausedUntil = 0
    tier.pausedReason = ''
    tier.asking = null
    tier.slowdown.from = Math.min(tier.slowdown.from, now)
    closeBreaker(tier.breaker, now)
  }
  state.held = null
  state.shut = null
}

/** Books retries before they are scheduled: answers by how many ms each has to be put off. */
export function retry(
  state: BucketState,
  lane: LaneLimits,
  { count, tenant, serverNow }: { count: number; tenant: string; serverNow: number },
): number[] {
  const { now } = advance(state, lane, serverNow)
  return bookRetries(state.retries, { taken: state.taken[REQUESTS], count, tenant }, now)
}

export function read(state: BucketState, lane: LaneLimits, serverNow: number): ShownState {
  const { now, limits, pacing } = advance(state, lane, serverNow)
  const { requests, tokens } = state.learned
  return {
    at: now - state.skew,
    levels: toQuantities(
      state.levels.map((level, i) => (limits.rates[i] === null ? null : level)) as Amounts,
    ),
    rates: toQuantities(limits.rates.map((rate) => (rate === null ? null : rate * 60_000)) as Amounts),
    used: toQuantities(state.window.sum),
    capacities: toQuantities(limits.capacities),
    usedToday: state.day.sum[REQUESTS],
    capacityToday: limits.dailyCapacities[REQUESTS],
    inFlight: findLeases(state, now).length,
    ...readTier(state, { tier: state, held: null }, now),
    tiers: [...state.tiers]
      .map(([name, tier]) => ({ name, ...readTier(state, { tier, held: state.held }, now) }))
      .sort((one, other) => (one.name < other.name ? -1 : 1)),
    learned: {
      requests: requests && { ...requests, at: requests.at - state.skew },
      tokens: tokens && { ...tokens, at: tokens.at - state.skew },
    },
    taken: toQuantities(state.taken),
    refunded: toQuantities(state.refunded),
    learnedConcurrency: null,
    throttled: state.throttled,
    counting: state.counting?.mode ?? null,
    learnedWindow: lane.window_auto ? pacing.window : null,
    shut: state.shut && { till: state.shut.till - state.skew, reason: state.shut.reason },
  }
}

/** The tier's own pause, or that of all tiers; its breaker; its share of the rate. */
function readTier(
  { permits, skew }: BucketState,
  { tier, held }: { tier: TierState; held: BucketState['held'] },
  now: number,
): ShownTier {
  const breaker = findBreakerState(tier.breaker, now)
  const openUntil = breaker === 'open' ? tier.breaker.openUntil : 0
  const own = Math.max(tier.pausedUntil, openUntil)
  const pausedUntil = Math.max(own, held?.until ?? 0)
  const ownReason = openUntil > tier.pausedUntil ? BREAKER_OPEN : tier.pausedReason
  const reason = held !== null && held.until >= own ? held.reason : ownReason
  return {
    pausedUntil: pausedUntil > now ? pausedUntil - skew : null,
    pausedReason: pausedUntil > now ? reason : null,
    breaker: {
      state: breaker,
      failures: tier.breaker.failures,
      openUntil: breaker === 'open' ? tier.breaker.openUntil - skew : null,
      heldTenants: [...tier.breaker.tenants],
      triedTenants: tier.breaker.trials
        .filter(({ permit }) => (permits.get(permit)?.leaseEnd ?? 0) > now)
        .map((trial) => trial.tenant),
    },
    speed: computeSpeed(tier.slowdown, now),
  }
}

/** The logical time of a call, the limits at that time, and whether the window's ledger closed a slice for it. */
export type Moment = { now: number; limits: EffectiveLimits; pacing: Pacing; closedSlice: boolean }

/** Brings clock, levels and ledgers to now. */
export function advance(state: BucketState, lane: LaneLimits, serverNow: number): Moment {
  let now = serverNow + state.skew
  if (now < state.last) {
    state.skew += state.last - now
    now = state.last
  }
  if (lane.window_auto) state.windowLearning = keepLearning(state.windowLearning, state.last, now)
  const pacing = findPacing(state.windowLearning, lane, now)
  const limits = computeLimits(lane, state.learned, pacing.window)
  const lived = computeLived(state.slowdown, now) - computeLived(state.slowdown, state.last)
  refill(state.levels, { rates: limits.rates, lived }, pacing)
  const isNewStep = lane.window_auto === true && state.windowLearning?.since === state.last
  const closedSlice = rollLedger(state.window, { ...pacing, headroom: lane.headroom, isNewStep }, now)
  rollLedger(state.day, { window: DAY_MS, headroom: lane.headroom }, now)
  state.last = now
  return { now, limits, pacing, closedSlice }
}

/**
 * Refills the levels for so many lived ms. Each holds at most its burst; while another one is short of its own, up to
 * a second's worth (of shorter windows, a tenth): what one limit holds back is not lost for the others, and calls of
 * different sizes use them all. An idle lane keeps no more than the bursts.
 */
function refill(
  levels: Amounts,
  { rates, lived }: { rates: Bounds; lived: number },
  { burst, saved }: Pacing,
): void {
  let short = 0
  for (const dimension of DIMENSIONS) {
    const rate = rates[dimension]
    levels[dimension] = rate === null ? 0 : levels[dimension] + rate * lived
    if (rate !== null && levels[dimension] < rate * burst) short++
  }
  for (const dimension of DIMENSIONS) {
    const rate = rates[dimension]
    if (rate === null || levels[dimension] < rate * burst) continue
    levels[dimension] = Math.min(rate * (short > 0 ? saved : burst), levels[dimension])
  }
}

/** A pause of a tier never gets shorter; the one that lasts longest says why. */
export function extendPause(tier: TierState, until: number, reason: string): void {
  if (until <= tier.pausedUntil) return
  tier.pausedUntil = until
  tier.pausedReason = reason
}

/** Ends of the leases that have not lapsed. */
export function findLeases(state: BucketState, now: number): number[] {
  return [...state.permits.values()].map((permit) => permit.leaseEnd).filter((end) => end > now)
}
