import type { JobError, WaitingFor } from '../jobs/job.ts'
import type { Throttles } from '../jobs/queue-entry.ts'
import type { ProviderAnswer, ProviderFailure } from '../providers/provider.ts'
import type { CallOutcome } from '../ratelimit/breaker.ts'
import { refusesSource } from './sources.ts'

/**
 * What happens to a job after a call without a result. Data, so that one place decides and another acts:
 * - `retry`: again at that time, and the call counts as an attempt;
 * - `throttled`: again when the lane may send, and the call does not count. `throttles`: the 429s so far, this one included;
 * - `no_capacity`: again at that time, and the call does not count: the cheaper tier of service had no room for it;
 * - `elsewhere`: again at once, by another source of the lane, and the call does not count;
 * - `rerouted`: the next lane of the job's route serves it, at once;
 * - `failed`: the job ends;
 * - `released`: the worker stops or the job was cancelled; nothing is decided about it.
 */
export type Outcome =
  | { kind: 'retry'; at: number; reason: string; waitingFor: WaitingFor }
  | { kind: 'throttled'; at: number; reason: string; waitingFor: WaitingFor; throttles: Throttles }
  | { kind: 'no_capacity'; at: number; reason: string; waitingFor: WaitingFor }
  | { kind: 'elsewhere'; reason: string; waitingFor: WaitingFor; throttles: Throttles | null }
  | { kind: 'rerouted'; lane: string; reason: string }
  | { kind: 'failed'; error: JobError }
  | { kind: 'released' }

/** For a 429 whose pause nobody has set. */
const DEFAULT_PAUSE_MS = 1000

/** A job that another lane can serve does not wait out a longer pause. */
export const PATIENCE_MS = 5000

/** A job does not wait longer for a provider that asks for more, ms. */
const LONGEST_WAIT_MS = 3_600_000

/** Jobs without capacity come again within this share of their wait after it, so that they do not come together. */
const SPREAD = 0.5

/** Statuses by which a provider refuses us rather than the request: keys, money, permissions, unknown models. */
const REFUSALS = new Set([401, 402, 403, 404, 429])

/** Codes that say the same with any status: no such endpoint there; a key refused with a 400 (Gemini). */
const REFUSAL_CODES = new Set(['unsupported_type', 'API_KEY_INVALID', 'API_KEY_EXPIRED'])

/** How long a 429 pauses its lane, ms. Where it names no time, throttle-pause.ts has set one. */
export function pauseAfter(failure: ProviderFailure): number {
  return failure.feedback.retryAfterMs ?? DEFAULT_PAUSE_MS
}

/**
 * Waiting time before an attempt: full jitter over an exponential bound, never less than the provider asked for.
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * @param attempt attempts made so far, from 1
 * @param floorMs the provider's `Retry-After`, 0 without one
 */
export function backoff(
  attempt: number,
  retry: { base: number; cap: number },
  floorMs: number,
  random: () => number,
): number {
  const bound = Math.min(retry.cap, retry.base * 2 ** Math.min(attempt - 1, 30))
  return floorMs + Math.round(random() * bound)
}

/**
 * Decides on a failed call.
 *
 * @param job `throttles`: the 429s that it met on this lane before; null: none
 * @param successor the next lane of the job's route, null when there is none
 * @param mayMove the lane has other sources that may serve the job
 */
export function decide(
  failure: ProviderFailure,
  job: { attempts: number; maxAttempts: number; throttles?: Throttles | null },
  retry: { base: number; cap: number },
  now: number,
  random: () => number,
  successor: string | null = null,
  mayMove = false,
): Outcome {
  const throttles = { count: (job.throttles?.count ?? 0) + 1, since: job.throttles?.since ?? now }
  // The lane says where its calls may go, and hands its jobs on when none of its sources serves for long.
  if (mayMove && failure.class === 'throttled')
    return { kind: 'elsewhere', reason: failure.code, waitingFor: 'provider_pause', throttles }
  if (mayMove && refusesSource(failure))
    return { kind: 'elsewhere', reason: failure.code, waitingFor: 'provider_pause', throttles: null }
  if (successor !== null && needsAnother(failure, throttles, now)) {
    return { kind: 'rerouted', lane: successor, reason: failure.code }
  }
  if (failure.cause === 'capacity') {
    const wait = Math.min(pauseAfter(failure), LONGEST_WAIT_MS)
    const at = now + wait + Math.round(random() * wait * SPREAD)
    return { kind: 'no_capacity', at, reason: failure.code, waitingFor: 'retry_delay' }
  }
  switch (failure.class) {
    case 'aborted':
      return { kind: 'released' }
    case 'throttled':
      return {
        kind: 'throttled',
        at: now + pauseAfter(failure),
        reason: failure.code,
        waitingFor: 'provider_pause',
        throttles,
      }
    case 'final':
      return { kind: 'failed', error: toJobError(failure, false) }
    case 'retryable':
    case 'timeout': {
      if (job.attempts >= job.maxAttempts) return { kind: 'failed', error: toJobError(failure, true) }
      const wait = backoff(
        job.attempts,
        retry,
        Math.min(failure.feedback.retryAfterMs ?? 0, LONGEST_WAIT_MS),
        random,
      )
      return { kind: 'retry', at: now + wait, reason: failure.code, waitingFor: 'retry_delay' }
    }
  }
}

/**
 * What an answer says to the lane's breaker.
 *
 * @param patient false when the jobs gave the call less time than the lane does: a time-out is then their own, and must
 *   not shut the lane for others
 */
export function judgeAnswer(answer: ProviderAnswer, patient: boolean): CallOutcome {
  if (answer.ok) return 'ok'
  if (answer.class === 'timeout') return patient ? 'broken' : null
  if (answer.staleConnection) return null
  const broken = answer.class === 'retryable' && (answer.status === null || answer.status >= 500)
  return broken ? 'broken' : null
}

/** True when another provider may serve a request that this one will not serve, or not soon. */
function needsAnother(failure: ProviderFailure, throttles: Throttles, now: number): boolean {
  if (failure.class === 'throttled') {
    // What was waited for already counts: short waits must not add up to a long one.
    return now - throttles.since + pauseAfter(failure) > PATIENCE_MS
  }
  if (failure.class !== 'final' || failure.input) return false
  if (failure.cause === 'quota' || failure.cause === 'auth' || failure.cause === 'not_found') return true
  return REFUSAL_CODES.has(failure.code) || (failure.status !== null && REFUSALS.has(failure.status))
}

/** How a job says what it failed of. */
export function toJobError(failure: ProviderFailure, retryable: boolean): JobError {
  const { code, message, status, providerError } = failure
  const error: JobError = { code, message, provider_status: status, retryable }
  if (providerError !== undefined) error.provider_error = providerError
  return error
}
