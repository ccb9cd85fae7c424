import type { LaneLimits } from '../../../config/lanes.ts'
import { judge } from '../../../ratelimit/breaker.ts'
import type { Booking } from '../../../ratelimit/gate.ts'
import type { Amounts, EffectiveLimits, LearnedLimit } from '../../../ratelimit/limits.ts'
import { computeLimits, DIMENSIONS, REQUESTS, TOKENS } from '../../../ratelimit/limits.ts'
import { slowDown } from '../../../ratelimit/slowdown.ts'
import { believeRemaining, noteThrottled } from '../../../ratelimit/window-learning.ts'
import type { BucketState, Permit } from './bucket.ts'
import { advance, extendPause } from './bucket.ts'
import { correctLedger } from './ledger.ts'

/** A longer pause, ms, is about more than a minute's limit. */
const LESSON_MS = 66_000

/** Frees permits and books what their calls really cost. An unknown or settled permit changes nothing. */
export function settle(state: BucketState, lane: LaneLimits, bookings: Booking[], serverNow: number): void {
  const { now, pacing } = advance(state, lane, serverNow)
  for (const booking of bookings) {
    const permit = state.permits.get(booking.permit)
    if (!permit) continue
    state.permits.delete(booking.permit)
    const { actual, outcome, pauseMs, reason } = booking
    const grown: Amounts = [0, 0, 0, 0]
    for (const dimension of DIMENSIONS)
      grown[dimension] = state.window.sum[dimension] - permit.used[dimension]
    correct(
      state,
      computeLimits(lane, state.learned, pacing.window),
      pacing.burst,
      permit,
      actual ?? [0, 0, 0, 0],
    )
    observe(state, lane, permit, booking, grown, now)
    judge(state.breaker, outcome, permit.takenAt, booking.source, now)
    if (pauseMs === null) continue
    state.throttled++
    const isFresh = permit.takenAt > state.slowdown.cutAt
    const isLesson =
      lane.window_auto && pauseMs <= LESSON_MS && isFresh && noteThrottled(state.windowLearning!, now)
    if (isLesson) state.slowdown.cutAt = now
    else slowDown(state.slowdown, permit.takenAt, now, pauseMs)
    extendPause(state, now + pauseMs, reason)
  }
}

/** Gives back what was taken too much, or charges what was taken too little, where and when it was taken. */
function correct(
  state: BucketState,
  limits: EffectiveLimits,
  burst: number,
  permit: Permit,
  actual: Amounts,
): void {
  const refund: Amounts = [0, 0, 0, 0]
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    const back = permit.cost[dimension] - actual[dimension]
    refund[dimension] = back
    const level = state.levels[dimension]
    // What is given back lifts a level to its burst; what was saved beyond that stays.
    if (rate !== null)
      state.levels[dimension] =
        back > 0 ? Math.max(level, Math.min(rate * burst, level + back)) : level + back
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
  { actual, limits, remaining }: Booking,
  grown: Amounts,
  now: number,
): void {
  const silent = [limits, remaining].every(({ requests, tokens }) => requests === null && tokens === null)
  if (silent || permit.takenAt < state.observedAt) return
  const { requests_per_minute: requests, tokens_per_minute: tokens } = lane
  const { learned, levels } = state
  const size = actual ?? permit.cost
  learned.requests = learn(learned.requests, requests, limits.requests, now)
  learned.tokens = learn(learned.tokens, tokens, limits.tokens, now)
  // What remains of a shorter window is over before the next call leaves.
  const isOfUse = (dimension: 0 | 1, left: number, limit: number) =>
    !lane.window_auto || believeRemaining(state.windowLearning!, dimension, left, limit)
  const lower = (dimension: 0 | 1, left: number) => {
    levels[dimension] = Math.min(levels[dimension], left - grown[dimension] - size[dimension])
  }
  if (
    requests !== undefined &&
    remaining.requests !== null &&
    isOfUse(REQUESTS, remaining.requests, requests)
  )
    lower(REQUESTS, remaining.requests)
  if (tokens !== undefined && remaining.tokens !== null && isOfUse(TOKENS, remaining.tokens, tokens))
    lower(TOKENS, remaining.tokens)
  state.observedAt = permit.takenAt
}

function learn(
  learned: LearnedLimit | null,
  configured: number | undefined,
  reported: number | null,
  now: number,
): LearnedLimit | null {
  if (configured === undefined || reported === null || reported <= 0) return learned
  return reported < configured ? { limit: reported, at: now } : null
}
