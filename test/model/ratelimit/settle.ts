import type { LaneLimits } from '../../../config/lanes.ts'
import { judge } from '../../../ratelimit/breaker.ts'
import { STANDARD } from '../../../ratelimit/lane-state.ts'
import type { Amounts, Bounds, EffectiveLimits, LearnedLimit } from '../../../ratelimit/limits.ts'
import { computeLimits, DIMENSIONS, REQUESTS, TOKENS } from '../../../ratelimit/limits.ts'
import type { Booking } from '../../../ratelimit/settle-script.ts'
import { slowDown } from '../../../ratelimit/slowdown.ts'
import { believeRemaining, isOfLesson, noteThrottled } from '../../../ratelimit/window-learning.ts'
import type { Bucket, BucketState, Moment, Permit } from './bucket.ts'
import { advance, extendPause, findTier, needTier } from './bucket.ts'
import { correctLedger } from './ledger.ts'
import { countUsed, createCounting, decideCounting, noteRefund } from './token-counting.ts'

/** After a longer pause one call at a time asks whether it is over, ms. */
const HOUR_MS = 3_600_000

/** A longer pause, ms, is about more than a minute's limit. */
const LESSON_MS = 66_000

/**
 * Frees permits in every bucket and books what their calls really cost. A bucket where a permit is unknown or settled
 * does not change.
 *
 * @param buckets the lane's own, those of its shared limits, those of its sources
 */
export function settle(buckets: readonly Bucket[], bookings: Booking[], serverNow: number): void {
  const all = buckets.map((bucket) => ({ ...bucket, ...advance(bucket.state, bucket.limited, serverNow) }))
  const hasSources = all.some(({ source }) => source !== undefined)
  for (const booking of bookings) {
    const opened = all.filter(
      ({ source, state }) => source === undefined || state.permits.has(booking.permit),
    )
    // A 429 belongs to the lane or the source, and to the shared limits with the least room.
    const loads = opened.map(({ state, limits }) => computeLoad(state, limits))
    const highest = Math.max(...loads)
    for (const [index, bucket] of opened.entries()) {
      const permit = bucket.state.permits.get(booking.permit)
      if (!permit) continue
      bucket.state.permits.delete(booking.permit)
      const isJudged = hasSources ? bucket.source !== undefined : index === 0
      settleOne(
        bucket,
        { permit, booking },
        {
          isJudged,
          isThrottled: isJudged || (index > 0 && loads[index] === highest),
          reports: [
            isReportedOn(opened, { ...bucket, counted: 'requests' }, booking),
            isReportedOn(opened, { ...bucket, counted: 'tokens' }, booking),
          ],
        },
      )
      if (bucket.source !== undefined) shutOrOpen(bucket, bucket.source.mark, booking)
    }
  }
}

/** A source that refused us is shut; an answer to the call that tried it opens it again. */
function shutOrOpen({ state, now }: Bucket & Moment, mark: string, booking: Booking): void {
  const { shutMs, reason, permit, outcome } = booking
  if (shutMs !== null) {
    const till = now + shutMs
    if (state.shut === null || till > state.shut.till) state.shut = { till, reason, mark, probe: null }
  } else if (state.shut?.probe === permit && outcome === 'ok') state.shut = null
}

/** A call that ended, at one of the buckets that its permit was taken from. `reports`: whose limits the provider reported. */
type EndedCall = {
  state: BucketState
  limited: LaneLimits
  permit: Permit
  now: number
  reports: [requests: boolean, tokens: boolean]
}

function settleOne(
  { state, limited, pacing, now }: Bucket & Moment,
  { permit, booking }: { permit: Permit; booking: Booking },
  role: { isJudged: boolean; isThrottled: boolean; reports: EndedCall['reports'] },
): void {
  const { actual, outcome, pauseMs, reason } = booking
  const grown: Amounts = [0, 0, 0, 0]
  for (const dimension of DIMENSIONS) grown[dimension] = state.window.sum[dimension] - permit.used[dimension]
  const call = { state, limited, permit, now, reports: role.reports }
  const counted = hearCounting(call, booking)
  const limits = computeLimits(limited, state.learned, pacing.window)
  correct(call, limits.rates.map((rate) => rate && rate * pacing.burst) as Bounds, counted ?? [0, 0, 0, 0])
  observe(call, { ...booking, actual: counted }, grown)
  const asked = findTier(state, booking.tier)
  if (asked?.asking?.probe === booking.permit) {
    const isAnswered = pauseMs !== null || (actual !== null && outcome !== 'broken')
    asked.asking = isAnswered ? null : { probe: null }
  }
  if (role.isJudged) {
    const judged = outcome === 'broken' ? needTier(state, booking.tier) : asked
    if (judged) judge(judged.breaker, { outcome, takenAt: permit.takenAt, source: booking.source }, now)
  }
  if (pauseMs === null || !role.isThrottled) return
  state.throttled++
  const tier = needTier(state, booking.tier)
  const isFresh = permit.takenAt > tier.slowdown.cutAt
  const teaches = limited.window_auto && booking.tier === STANDARD && pauseMs <= LESSON_MS
  const learning = teaches ? state.windowLearning! : null
  if (learning !== null && isFresh && noteThrottled(learning, now, pauseMs)) tier.slowdown.cutAt = now
  else if (learning === null || !isOfLesson(learning, permit.takenAt))
    slowDown(tier.slowdown, { takenAt: permit.takenAt, pauseMs }, now)
  extendPause(tier, now + pauseMs, reason)
  if (pauseMs > HOUR_MS) tier.asking = { probe: null }
}

/** Learns what a call used, and answers what counts for it. */
function hearCounting(
  { state, limited, permit, now, reports }: EndedCall,
  { actual, usedTokens: used, remaining: { tokens: remaining }, tier }: Booking,
): Amounts | null {
  const configured = limited.tokens_per_minute
  if (used === null || configured === undefined) return actual
  if (remaining !== null) state.counting ??= createCounting(now)
  const { counting } = state
  if (counting === null) return actual
  const { takenAt, cost, minute } = permit
  countUsed(counting, { takenAt, estimate: cost[TOKENS], used, minute }, now)
  const isHeard = remaining !== null && minute !== null && tier === STANDARD && reports[TOKENS]
  const isOfUse =
    isHeard &&
    (!limited.window_auto ||
      believeRemaining(state.windowLearning!, { dimension: TOKENS, remaining, limit: configured }))
  if (isOfUse) {
    const limit = Math.min(configured, state.learned.tokens?.limit ?? configured)
    const heard = { takenAt, estimate: cost[TOKENS], minute, remaining, limit }
    state.levels[TOKENS] -= decideCounting(counting, heard, now)
  }
  if (counting.mode === 'estimate') return actual
  const [requests, tokens, input, output] = actual ?? [0, 0, 0, 0]
  noteRefund(counting, takenAt, Math.max(0, tokens - used))
  return [requests, used, input, output]
}

/** The largest share of a capacity that is in use. */
export function computeLoad(
  { window, day }: BucketState,
  { capacities, dailyCapacities }: EffectiveLimits,
): number {
  return Math.max(
    ...DIMENSIONS.flatMap((dimension) => [
      window.sum[dimension] / (capacities[dimension] ?? Number.POSITIVE_INFINITY),
      day.sum[dimension] / (dailyCapacities[dimension] ?? Number.POSITIVE_INFINITY),
    ]),
  )
}

/**
 * Whether a report is about this bucket. It is about the limit nearest to the reported one; where only what remains was
 * reported, about the lowest. Of equal ones, about all of them.
 */
function isReportedOn(
  buckets: readonly Bucket[],
  { state, limited, counted }: Bucket & { counted: 'requests' | 'tokens' },
  { limits: { [counted]: reported }, tier }: Booking,
): boolean {
  const name = counted === 'requests' ? 'requests_per_minute' : 'tokens_per_minute'
  const configured = limited[name]
  if (configured === undefined) return false
  // Another tier that reports another limit than ours has its own: neither the report nor what remains there says
  // anything about our limit.
  if (tier !== STANDARD && reported !== null && reported !== (state.learned[counted]?.limit ?? configured))
    return false
  const distanceOf = (limit: number) =>
    reported !== null && reported > 0 ? Math.max(limit / reported, reported / limit) : limit
  return buckets.every(
    ({ limited: { [name]: other } }) => other === undefined || distanceOf(other) >= distanceOf(configured),
  )
}

/** Returns what was taken too much, or charges what was taken too little, where and when it was taken. */
function correct({ state, permit }: EndedCall, bursts: Bounds, actual: Amounts): void {
  const refund: Amounts = [0, 0, 0, 0]
  for (const dimension of DIMENSIONS) {
    const burst = bursts[dimension]
    const back = permit.cost[dimension] - actual[dimension]
    refund[dimension] =
      dimension === TOKENS && permit.guarded !== null ? permit.guarded - actual[dimension] : back
    const level = state.levels[dimension]
    // A refund lifts a level up to its burst; what was saved beyond that stays.
    const owed = dimension === TOKENS && permit.paced !== null ? permit.paced - actual[dimension] : back
    if (burst !== null)
      state.levels[dimension] = owed > 0 ? Math.max(level, Math.min(burst, level + owed)) : level + owed
    if (back > 0) state.refunded[dimension] += back
    else state.taken[dimension] -= back
  }
  correctLedger(state.window, permit.takenAt, refund)
  correctLedger(state.day, permit.takenAt, refund)
}

/**
 * Believes the provider if it sees less room than we do (others may use the same key). The most that the level may be
 * is what remained at the provider, less what our own window has grown since that call left, less one more such call.
 */
function observe(
  { state, limited, permit, now, reports }: EndedCall,
  { actual, limits, remaining }: Booking,
  grown: Amounts,
): void {
  const silent = [limits, remaining].every(({ requests, tokens }) => requests === null && tokens === null)
  if (silent || permit.takenAt < state.observedAt) return
  const { learned, levels } = state
  const size = actual ?? permit.cost
  if (reports[REQUESTS])
    learned.requests = learn(
      learned.requests,
      { configured: limited.requests_per_minute, reported: limits.requests },
      now,
    )
  if (reports[TOKENS])
    learned.tokens = learn(
      learned.tokens,
      { configured: limited.tokens_per_minute, reported: limits.tokens },
      now,
    )
  const lower = (dimension: 0 | 1, configured: number | undefined, left: number | null) => {
    if (!reports[dimension] || configured === undefined || left === null) return
    // What remains of a shorter window has passed before the next call leaves.
    if (
      limited.window_auto &&
      !believeRemaining(state.windowLearning!, { dimension, remaining: left, limit: configured })
    )
      return
    levels[dimension] = Math.min(levels[dimension], left - grown[dimension] - size[dimension])
  }
  lower(REQUESTS, limited.requests_per_minute, remaining.requests)
  lower(TOKENS, limited.tokens_per_minute, remaining.tokens)
  state.observedAt = permit.takenAt
}

function learn(
  learned: LearnedLimit | null,
  { configured, reported }: { configured: number | undefined; reported: number | null },
  now: number,
): LearnedLimit | null {
  if (configured === undefined || reported === null || reported <= 0) return learned
  return reported < configured ? { limit: reported, at: now } : null
}
