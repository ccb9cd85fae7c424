import type { LaneLimits } from '../config/lanes.ts'
import type { Claim } from './claim.ts'
import { computeReserve, stakeClaim, useClaim } from './claim.ts'
import type { LaneFeedback, LaneWaitingFor, TakeAnswer } from './gate.ts'
import type { LaneState } from './lane-state.ts'
import { toQuantities } from './lane-state.ts'
import type { Ledger } from './ledger.ts'
import { addToLedger, computeLedgerWaits, correctLedger, createLedger, rollLedger } from './ledger.ts'
import type { Amounts, EffectiveLimits, LearnedLimit, LearnedLimits } from './limits.ts'
import { computeLimits, DAY_MS, DIMENSIONS, REQUESTS, TOKENS } from './limits.ts'
import type { Slowdown } from './slowdown.ts'
import { computeLived, computeSpeed, findLived, slowDown } from './slowdown.ts'

/**
 * The arithmetic of the bucket without Redis: each function changes the state that it is given and touches nothing
 * else. `lua/*.lua` does the same, operation for operation, in the same order, so both get the same doubles; the
 * contract suite compares them. `serverNow` is the clock of the machine that owns the state, in ms.
 */
export type BucketState = {
  /** Logical time of the last call, ms. It never goes back, whatever the server's clock does. */
  last: number
  /** What the server's clock lacks to the logical time, ms. */
  skew: number
  /** Permits given so far. */
  sequence: number
  /** Pacing, in requests and tokens. Negative: debt. 0 where there is no limit. */
  levels: Amounts
  window: Ledger
  day: Ledger
  claim: Claim | null
  slowdown: Slowdown
  pausedUntil: number
  pausedReason: string
  learned: LearnedLimits
  /** When the call whose feedback was applied last had left. */
  observedAt: number
  taken: Amounts
  refunded: Amounts
  throttled: number
  permits: Map<string, Permit>
}

type Permit = {
  leaseEnd: number
  takenAt: number
  cost: Amounts
  /** What the window held when the permit was given, itself included. */
  used: Amounts
}

/** A settlement with its pause final (jitter added) and its cost as amounts. */
export type BucketSettlement = {
  permit: string
  actual: Amounts | null
  feedback: LaneFeedback
  throttledMs: number | null
  throttledReason: string
}

/** Refill that may pile up while nobody takes, ms of the rate. It also forgives takers that come late by so much. */
const BURST_MS = 100
/** Rounding of sums of doubles, in requests or tokens. */
const EPSILON = 1e-6
/** When to ask again where nothing but another call's end can tell, ms. */
const POLL_MS = 50
/** How long after its lease a permit can still be settled, ms. */
const KEEP_MS = 3_600_000

const WAITING_FOR: LaneWaitingFor[] = ['requests', 'tokens', 'tokens', 'tokens']

export function createBucket(window: number, now: number): BucketState {
  return {
    last: now,
    skew: 0,
    sequence: 0,
    levels: [0, 0, 0, 0],
    window: createLedger(window, now),
    day: createLedger(DAY_MS, now),
    claim: null,
    slowdown: { slow: 1, from: 0, cutAt: -1 },
    pausedUntil: 0,
    pausedReason: '',
    learned: { requests: null, tokens: null },
    observedAt: -1,
    taken: [0, 0, 0, 0],
    refunded: [0, 0, 0, 0],
    throttled: 0,
    permits: new Map(),
  }
}

/** Grants the longest prefix of the costs that may leave now, each of them whole or not at all. */
export function take(
  state: BucketState,
  lane: LaneLimits,
  costs: Amounts[],
  leaseMs: number,
  serverNow: number,
): TakeAnswer {
  const { now, limits, closedSlice } = advance(state, lane, serverNow)
  if (closedSlice) forgetPermits(state, now)
  const permits: string[] = []
  for (const cost of costs) {
    const refusal = refuse(state, lane, limits, cost, now)
    if (refusal) return { permits, ...refusal }
    permits.push(grant(state, limits, cost, leaseMs, now))
  }
  return { permits, waitMs: 0, waitingFor: null, never: false }
}

/** Frees permits and books what their calls really cost. An unknown or settled permit changes nothing. */
export function settle(
  state: BucketState,
  lane: LaneLimits,
  settlements: BucketSettlement[],
  serverNow: number,
): void {
  const { now } = advance(state, lane, serverNow)
  for (const { permit: id, actual, feedback, throttledMs, throttledReason } of settlements) {
    const permit = state.permits.get(id)
    if (!permit) continue
    state.permits.delete(id)
    const grown: Amounts = [0, 0, 0, 0]
    for (const dimension of DIMENSIONS)
      grown[dimension] = state.window.sum[dimension] - permit.used[dimension]
    correct(state, computeLimits(lane, state.learned), permit, actual ?? [0, 0, 0, 0])
    observe(state, lane, permit, actual ?? permit.cost, feedback, grown, now)
    if (throttledMs !== null) {
      state.throttled++
      slowDown(state.slowdown, permit.takenAt, now, throttledMs)
      extendPause(state, now + throttledMs, throttledReason)
    }
  }
}

/** Extends the leases of permits that are not settled. A lapsed lease revives: the call runs, so it counts. */
export function renew(
  state: BucketState,
  lane: LaneLimits,
  permits: string[],
  leaseMs: number,
  serverNow: number,
): void {
  const { now } = advance(state, lane, serverNow)
  for (const id of permits) {
    const permit = state.permits.get(id)
    if (permit) permit.leaseEnd = now + leaseMs
  }
}

export function pause(
  state: BucketState,
  lane: LaneLimits,
  forMs: number,
  reason: string,
  serverNow: number,
): void {
  const { now } = advance(state, lane, serverNow)
  extendPause(state, now + forMs, reason)
}

export function resume(state: BucketState, lane: LaneLimits, serverNow: number): void {
  advance(state, lane, serverNow)
  state.pausedUntil = 0
  state.pausedReason = ''
}

export function read(state: BucketState, lane: LaneLimits, serverNow: number): LaneState {
  const { now, limits } = advance(state, lane, serverNow)
  const { requests, tokens } = state.learned
  const paused = state.pausedUntil > now
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
    pausedUntil: paused ? state.pausedUntil - state.skew : null,
    pausedReason: paused ? state.pausedReason : null,
    speed: computeSpeed(state.slowdown, now),
    learned: {
      requests: requests && { ...requests, at: requests.at - state.skew },
      tokens: tokens && { ...tokens, at: tokens.at - state.skew },
    },
    taken: toQuantities(state.taken),
    refunded: toQuantities(state.refunded),
    throttled: state.throttled,
  }
}

/** Brings clock, levels and ledgers to now. */
function advance(state: BucketState, lane: LaneLimits, serverNow: number) {
  let now = serverNow + state.skew
  if (now < state.last) {
    state.skew += state.last - now
    now = state.last
  }
  const limits = computeLimits(lane, state.learned)
  const lived = computeLived(state.slowdown, now) - computeLived(state.slowdown, state.last)
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    state.levels[dimension] =
      rate === null ? 0 : Math.min(rate * BURST_MS, state.levels[dimension] + rate * lived)
  }
  const closedSlice = rollLedger(state.window, lane.window, now)
  rollLedger(state.day, DAY_MS, now)
  state.last = now
  return { now, limits, closedSlice }
}

type Refusal = Pick<TakeAnswer, 'waitMs' | 'waitingFor' | 'never'>

/** Null when the cost may leave now; else the longest of the waits and what it is for. */
function refuse(
  state: BucketState,
  lane: LaneLimits,
  limits: EffectiveLimits,
  cost: Amounts,
  now: number,
): Refusal | null {
  for (const dimension of DIMENSIONS) {
    const most = Math.min(
      limits.capacities[dimension] ?? Number.POSITIVE_INFINITY,
      limits.dailyCapacities[dimension] ?? Number.POSITIVE_INFINITY,
    )
    if (cost[dimension] > most)
      return { waitMs: Number.POSITIVE_INFINITY, waitingFor: WAITING_FOR[dimension] ?? null, never: true }
  }

  let longest = 0
  let waitingFor: LaneWaitingFor | null = null
  const wait = (ms: number | null, reason: LaneWaitingFor) => {
    if (ms === null || ms <= longest) return
    longest = ms
    waitingFor = reason
  }

  wait(state.pausedUntil - now, 'provider_pause')
  const leases = findLeases(state, now)
  if (lane.max_concurrency !== undefined && leases.length >= lane.max_concurrency)
    wait(Math.min(POLL_MS, Math.min(...leases) - now), 'concurrency')

  const windowWaits = computeLedgerWaits(state.window, limits.capacities, cost, now)
  const dayWaits = computeLedgerWaits(state.day, limits.dailyCapacities, cost, now)
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    const reason = WAITING_FOR[dimension]!
    wait(dayWaits[dimension], reason)
    if (rate === null || cost[dimension] === 0) continue
    const level = state.levels[dimension]
    if (level < -EPSILON)
      wait(findLived(state.slowdown, computeLived(state.slowdown, now) - level / rate) - now, reason)
    wait(windowWaits[dimension], reason)
    const reserve = computeReserve(state.claim, dimension, cost, limits.rates, now)
    if (
      reserve > 0 &&
      state.window.sum[dimension] + cost[dimension] + reserve > limits.capacities[dimension]!
    )
      wait(POLL_MS, reason)
  }
  state.claim = stakeClaim(state.claim, windowWaits, cost, now)
  return waitingFor === null ? null : { waitMs: Math.ceil(longest), waitingFor, never: false }
}

function grant(
  state: BucketState,
  limits: EffectiveLimits,
  cost: Amounts,
  leaseMs: number,
  now: number,
): string {
  for (const dimension of DIMENSIONS) {
    if (limits.rates[dimension] !== null) state.levels[dimension] -= cost[dimension]
    state.taken[dimension] += cost[dimension]
  }
  addToLedger(state.window, cost)
  addToLedger(state.day, cost)
  state.claim = useClaim(state.claim, cost)
  state.sequence++
  const id = `${Math.floor(now)}-${state.sequence}`
  state.permits.set(id, { leaseEnd: now + leaseMs, takenAt: now, cost, used: [...state.window.sum] })
  return id
}

/** Gives back what was taken too much, or charges what was taken too little, where and when it was taken. */
function correct(state: BucketState, limits: EffectiveLimits, permit: Permit, actual: Amounts): void {
  const refund: Amounts = [0, 0, 0, 0]
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    const back = permit.cost[dimension] - actual[dimension]
    refund[dimension] = back
    if (rate !== null) state.levels[dimension] = Math.min(rate * BURST_MS, state.levels[dimension] + back)
    if (back > 0) state.refunded[dimension] += back
    else state.taken[dimension] -= back
  }
  correctLedger(state.window, permit.takenAt, refund)
  correctLedger(state.day, permit.takenAt, refund)
}

/**
 * Believes the provider where it sees less room than we do (others may use the same key): what remained for it,
 * less what our own window has grown since that call left, less one more such call, is the most the level may be.
 */
function observe(
  state: BucketState,
  lane: LaneLimits,
  permit: Permit,
  size: Amounts,
  feedback: LaneFeedback,
  grown: Amounts,
  now: number,
): void {
  if (permit.takenAt < state.observedAt) return
  const { limitRequests, limitTokens, remainingRequests, remainingTokens } = feedback
  const { requests_per_minute: requests, tokens_per_minute: tokens } = lane
  const { learned, levels } = state
  learned.requests = learn(learned.requests, requests, limitRequests, now)
  learned.tokens = learn(learned.tokens, tokens, limitTokens, now)
  const lower = (dimension: 0 | 1, remaining: number) => {
    levels[dimension] = Math.min(levels[dimension], remaining - grown[dimension] - size[dimension])
  }
  if (requests !== undefined && remainingRequests !== undefined) lower(REQUESTS, remainingRequests)
  if (tokens !== undefined && remainingTokens !== undefined) lower(TOKENS, remainingTokens)
  if (Object.values(feedback).some((value) => value !== undefined)) state.observedAt = permit.takenAt
}

function learn(
  learned: LearnedLimit | null,
  configured: number | undefined,
  reported: number | undefined,
  now: number,
): LearnedLimit | null {
  if (configured === undefined || reported === undefined || reported <= 0) return learned
  return reported < configured ? { limit: reported, at: now } : null
}

/** A pause never gets shorter; the one that lasts longest says why. */
function extendPause(state: BucketState, until: number, reason: string): void {
  if (until <= state.pausedUntil) return
  state.pausedUntil = until
  state.pausedReason = reason
}

/** Ends of the leases that stand. */
function findLeases(state: BucketState, now: number): number[] {
  return [...state.permits.values()].map((permit) => permit.leaseEnd).filter((end) => end > now)
}

function forgetPermits(state: BucketState, now: number): void {
  for (const [id, permit] of state.permits) {
    if (permit.leaseEnd <= now - KEEP_MS) state.permits.delete(id)
  }
}
