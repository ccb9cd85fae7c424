import type { CallOutcome, CallSource } from './breaker.ts'
import type { Settlement } from './gate.ts'
import { type ServiceTier, STANDARD } from './lane-state.ts'
import type { Amounts } from './limits.ts'
import { addJitter } from './slowdown.ts'
import { toAmounts } from './take-script.ts'

/** Longest pause, ms: ten years. */
const LONGEST_PAUSE_MS = 315_360_000_000

/** Longest pause after a 429, ms. After it, one call at a time asks a provider that wanted a longer one. */
const LONGEST_WAIT_MS = 3_600_000

/** A settlement as the bucket books it: whole amounts, jitter added, null where nothing was reported. */
export type Booking = {
  permit: string
  /** What the call used; null: it was never sent. */
  actual: Amounts | null
  /** The limits that the provider reported, and what remains of them. */
  limits: Report
  remaining: Report
  /** How the call ended, for the breaker; null says nothing. */
  outcome: CallOutcome
  source: CallSource
  tier: ServiceTier
  /** Tokens that count if the provider counts what was used; null: `actual` counts. */
  usedTokens: number | null
  /** Pause after a 429, ms. */
  pauseMs: number | null
  /** How long the source is shut because it refused the call, ms. */
  shutMs: number | null
  /** Why the lane pauses or the source is shut. */
  reason: string
}
type Report = { requests: number | null; tokens: number | null }

export function toBooking(settlement: Settlement, random: () => number): Booking {
  const { permit, actual, feedback = {}, throttledMs, throttledReason, shutMs, outcome, source } = settlement
  return {
    permit,
    actual: actual && toAmounts(actual),
    limits: { requests: toReport(feedback.limitRequests), tokens: toReport(feedback.limitTokens) },
    remaining: { requests: toReport(feedback.remainingRequests), tokens: toReport(feedback.remainingTokens) },
    outcome: throttledMs === undefined ? (outcome ?? null) : null,
    source: source ?? { tenant: '', prompt: '', job: '' },
    tier: settlement.tier ?? STANDARD,
    usedTokens: actual === null ? null : toReport(settlement.usedTokens),
    pauseMs: throttledMs === undefined ? null : toThrottle(throttledMs, random),
    shutMs: shutMs === undefined ? null : toPause(shutMs),
    reason: settlement.shutReason ?? throttledReason ?? 'throttled',
  }
}

/** The arguments of `lua/settle.lua` for each booking, eighteen a booking, in the order in which the script reads them; '' for null. */
export function encodeBookings(bookings: readonly Booking[]): (string | number)[] {
  const args: (string | number)[] = []
  for (const booking of bookings) {
    const { actual, limits, remaining, source } = booking
    args.push(
      booking.permit,
      ...(actual ?? NOT_SENT),
      limits.requests ?? '',
      limits.tokens ?? '',
      remaining.requests ?? '',
      remaining.tokens ?? '',
      booking.outcome ?? '',
      booking.pauseMs ?? '',
      booking.reason,
      source.tenant,
      source.prompt,
      source.job,
      booking.shutMs ?? '',
      booking.tier,
      booking.usedTokens ?? '',
    )
  }
  return args
}

const NOT_SENT = ['', '', '', '']

/** The pause after a 429. More than `LONGEST_WAIT_MS`: one call asks again at its end. */
function toThrottle(ms: number, random: () => number): number {
  return addJitter(Math.min(toPause(ms), LONGEST_WAIT_MS + 1), random)
}

/** Finite and not negative; no pause where it is not a number. */
export function toPause(ms: number): number {
  return Math.min(Math.max(0, ms) || 0, LONGEST_PAUSE_MS)
}

/** A value that is not a number counts as not reported: one NaN would stay in a level for ever. */
function toReport(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null
}
