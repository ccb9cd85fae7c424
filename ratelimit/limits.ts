import type { LaneLimits } from '../config/lanes.ts'
import { inputLimitOf, outputLimitOf } from './media-limits.ts'

/** One number for each counted dimension: requests, tokens, input tokens, output tokens. */
export type Amounts = [requests: number, tokens: number, inputTokens: number, outputTokens: number]
/** The same, if a dimension may have no limit. */
export type Bounds = [
  requests: number | null,
  tokens: number | null,
  inputTokens: number | null,
  outputTokens: number | null,
]

export const REQUESTS = 0
export const TOKENS = 1
/** The places of `Amounts` and `Bounds`, to walk them. */
export const DIMENSIONS = [0, 1, 2, 3] as const
export type Dimension = (typeof DIMENSIONS)[number]

export const DAY_MS = 86_400_000
const MINUTE_MS = 60_000

/** A limit that the provider reported, lower than the configured one. `at`: logical ms of the last report. */
export type LearnedLimit = { limit: number; at: number }
export type LearnedLimits = { requests: LearnedLimit | null; tokens: LearnedLimit | null }

export type EffectiveLimits = {
  /** What the levels gain per millisecond. */
  rates: Bounds
  /** What any `window` may hold. */
  capacities: Bounds
  /** What any 24 hours may hold. */
  dailyCapacities: Bounds
}

/**
 * The current limits. Rates leave the headroom free. Capacities do not, because they are the provider's limit and not the target of the
 * pace. A window that is too short for one request (30 a minute, counted by the second) still lets one through.
 */
export function computeLimits(
  lane: LaneLimits,
  learned: LearnedLimits,
  window = lane.window,
): EffectiveLimits {
  const perMinute: Bounds = [
    lowerOf(lane.requests_per_minute, learned.requests),
    lowerOf(lane.tokens_per_minute, learned.tokens),
    inputLimitOf(lane) ?? null,
    outputLimitOf(lane) ?? null,
  ]
  const limits: EffectiveLimits = {
    rates: [null, null, null, null],
    capacities: [null, null, null, null],
    dailyCapacities: [lane.requests_per_day ?? null, null, null, null],
  }
  for (const dimension of DIMENSIONS) {
    const limit = perMinute[dimension]
    if (limit === null) continue
    const capacity = (limit * window) / MINUTE_MS
    limits.rates[dimension] = (limit * lane.headroom) / MINUTE_MS
    limits.capacities[dimension] = dimension === REQUESTS ? Math.max(capacity, 1) : capacity
  }
  return limits
}

/** A dimension without a configured limit stays unlimited, even if the provider reports one: providers report in different units. */
function lowerOf(configured: number | undefined, learned: LearnedLimit | null): number | null {
  if (configured === undefined) return null
  return learned === null ? configured : Math.min(configured, learned.limit)
}
