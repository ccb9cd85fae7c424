import type { Lane, LaneLimits } from '../../config/lanes.ts'
import type { BucketState, LaneState, Quantities } from '../../ratelimit/lane-state.ts'

export type CountedRates = {
  requests: number | null
  tokens: number | null
  input_tokens: number | null
  output_tokens: number | null
}

/** As configured, per minute; null: no limit. */
export type LimitsView = CountedRates & {
  images: number | null
  audio_seconds: number | null
  requests_per_day: number | null
  concurrency: number | null
  window_ms: number
  headroom: number
}

/** A shared limit that includes a lane. Usage is the sum over all its lanes. */
export type SharedLimitView = {
  name: string
  limits: LimitsView
  learned: { requests: number | null; tokens: number | null }
  rates: CountedRates
  speed: number
  levels: CountedRates
  utilisation: number
  used: CountedRates
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  throttled: number
}

/** The limit that holds a lane back: its own, or a shared one. */
export type HeldBackBy = { kind: 'lane' | 'shared_limit'; name: string }

export function showSharedLimits({ shared = [] }: Lane, state: LaneState): SharedLimitView[] {
  return shared.map(({ name, limits }, index) => {
    const bucket = state.shared[index]!
    return {
      name,
      limits: showLimits(limits, bucket.learnedWindow),
      learned: {
        requests: bucket.learned.requests?.limit ?? null,
        tokens: bucket.learned.tokens?.limit ?? null,
      },
      rates: toCounted(bucket.rates),
      speed: bucket.speed,
      levels: toCounted(bucket.levels),
      utilisation: computeUtilisation(bucket),
      used: toCounted(bucket.used),
      in_flight: bucket.inFlight,
      paused_until: bucket.pausedUntil === null ? null : new Date(bucket.pausedUntil).toISOString(),
      paused_reason: bucket.pausedReason,
      throttled: bucket.throttled,
    }
  })
}

/** The limit with the least room now: the one with the longest pause, then the deepest debt, then the highest utilisation. */
export function findTightest(lane: Lane, state: LaneState): HeldBackBy {
  const shared = lane.shared ?? []
  const found = [
    { by: { kind: 'lane' as const, name: lane.id }, tightness: measureTightness(lane.limits, state) },
    ...shared.map(({ name, limits }, index) => ({
      by: { kind: 'shared_limit' as const, name },
      tightness: measureTightness(limits, state.shared[index]!),
    })),
  ]
  return found.reduce((best, one) => (isTighter(one.tightness, best.tightness) ? one : best)).by
}

type Tightness = [pauseMs: number, debtMs: number, fullness: number]

function measureTightness(limits: LaneLimits, state: BucketState): Tightness {
  const debts = Object.entries(state.levels).map(([dimension, level]) => {
    const rate = state.rates[dimension as keyof Quantities<number>]
    const perMinute = (rate ?? 0) * state.speed
    return level === null || perMinute === 0 ? 0 : (-level * 60_000) / perMinute
  })
  const slots = limits.max_concurrency === undefined ? 0 : state.inFlight / limits.max_concurrency
  return [
    state.pausedUntil === null ? 0 : state.pausedUntil - state.at,
    Math.max(0, ...debts),
    Math.max(computeUtilisation(state), slots),
  ]
}

function isTighter(one: Tightness, other: Tightness): boolean {
  const place = one.findIndex((value, index) => value !== other[index])
  return place !== -1 && one[place]! > other[place]!
}

/** Used share of the window, by the fullest dimension. */
export function computeUtilisation(state: BucketState): number {
  const shares = (['requests', 'tokens', 'inputTokens', 'outputTokens'] as const).map((dimension) => {
    const capacity = state.capacities[dimension]
    return capacity === null ? 0 : state.used[dimension] / capacity
  })
  return Math.max(0, ...shares)
}

export function showLimits(limits: LaneLimits, learnedWindow: number | null): LimitsView {
  return {
    requests: limits.requests_per_minute ?? null,
    tokens: limits.tokens_per_minute ?? null,
    input_tokens: limits.input_tokens_per_minute ?? null,
    output_tokens: limits.output_tokens_per_minute ?? null,
    images: limits.images_per_minute ?? null,
    audio_seconds: limits.audio_seconds_per_minute ?? null,
    requests_per_day: limits.requests_per_day ?? null,
    concurrency: limits.max_concurrency ?? null,
    window_ms: learnedWindow ?? limits.window,
    headroom: limits.headroom,
  }
}

export function toCounted(quantities: Quantities<number | null>): CountedRates {
  return {
    requests: quantities.requests,
    tokens: quantities.tokens,
    input_tokens: quantities.inputTokens,
    output_tokens: quantities.outputTokens,
  }
}
