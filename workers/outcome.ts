import type { JobError, WaitingFor } from '../jobs/job.ts'
import type { Throttles } from '../jobs/queue-entry.ts'
import type { ProviderAnswer, ProviderFailure } from '../providers/provider.ts'
import type { CallOutcome } from '../ratelimit/breaker.ts'
import { refusesSource } from './sources.ts'

/**
 * What happens to a job after a call without a result. This is data, so that one place decides and another acts:
 * - `retry`: the job is sent again at that time, and the call counts as an attempt;
 * - `throttled`: the job is sent again when the lane may send, and the call does not count. `throttles`: the 429s so
 *   far, with this one;
 * - `no_capacity`: the job is sent again at that time, and the call does not count, because the cheaper tier of service
 *   had no room for it;
 * - `elsewhere`: the job is sent again at once, by another source of the lane, and the call does not count;
 * - `rerouted`: the next lane of the job's route serves it, at once;
 * - `failed`: the job ends;
 * - `released`: the worker stops or the job was cancelled, and nothing is decided about the job.
 */
export type Outcome =
  | { kind: 'retry'; at: number; reason: string; waitingFor: WaitingFor }
  | { kind: 'throttled'; at: number; reason: string; waitingFor: WaitingFor; throttles: Throttles }
  | { kind: 'no_capacity'; at: number; reason: string; waitingFor: WaitingFor }
  | { kind: 'elsewhere'; reason: string; waitingFor: WaitingFor; throttles: Throttles | null }
  | { kind: 'rerouted'; lane: string; reason: string }
  | { kind: 'failed'; error: JobError }
  | { kind: 'released' }

/** Pause after a 429 that names no wait and for which no wait was set, ms. */
const DEFAULT_PAUSE_MS = 1000

/** A job that another lane can serve does not wait out a longer pause than this, ms. */
export const PATIENCE_MS = 5000

/** A job waits no longer than this, even if its provider asks for more, ms. */
const LONGEST_WAIT_MS = 3_600_000

/**
 * After a call without capacity a job waits up to this share of its wait longer, so that such jobs do not come back
 * together.
 */
const SPREAD = 0.5

/** Statuses by which a provider refuses us and not the request: keys, money, permissions, unknown models. */
const REFUSALS = new Set([401, 402, 403, 404, 429])

/** Codes that mean the same with any status: the provider has no such endpoint; Gemini refuses a key with a 400. */
const REFUSAL_CODES = new Set(['unsupported_type', 'API_KEY_INVALID', 'API_KEY_EXPIRED'])

/** How long a 429 pauses its lane, ms. If it names no time, throttle-pause.ts has set one. */
export function pauseAfter(failure: ProviderFailure): number {
  return failure.feedback.retryAfterMs ?? DEFAULT_PAUSE_MS
}

/**
 * Waiting time before an attempt, ms: full jitter over an exponential bound, and never less than the provider asked
 * for.
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * @param attempt attempts made so far, from 1
 * @param floorMs the provider's `Retry-After` in ms, 0 without one
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
 * Decides what happens to a job after a failed call.
 *
 * @param job `throttles`: the 429s that the job met on this lane before; null: none
 * @param successor the next lane of the job's route; null: there is none
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
  // The lane decides which source gets the next call. If no source can serve for long, the lane itself hands its jobs
  // on.
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
 * What an answer means for the lane's breaker; null: nothing.
 *
 * @param patient false if the jobs gave the call less time than the lane does. A time-out is then their own fault, and
 *   must not shut the lane for others.
 */
export function judgeAnswer(answer: ProviderAnswer, patient: boolean): CallOutcome {
  if (answer.ok) return 'ok'
  if (answer.class === 'timeout') return patient ? 'broken' : null
  if (answer.staleConnection) return null
  const broken = answer.class === 'retryable' && (answer.status === null || answer.status >= 500)
  return broken ? 'broken' : null
}

/** True if another provider may serve a request that this one will not serve, or not soon. */
function needsAnother(failure: ProviderFailure, throttles: Throttles, now: number): boolean {
  if (failure.class === 'throttled') {
    // Time that the job has waited already counts, so that many short waits do not add up to a long one.
    return now - throttles.since + pauseAfter(failure) > PATIENCE_MS
  }
  if (failure.class !== 'final' || failure.input) return false
  if (failure.cause === 'quota' || failure.cause === 'auth' || failure.cause === 'not_found') return true
  return REFUSAL_CODES.has(failure.code) || (failure.status !== null && REFUSALS.has(failure.status))
}

/** The error of a job that failed by this failure. */
export function toJobError(failure: ProviderFailure, retryable: boolean): JobError {
  const { code, message, status, providerError } = failure
  const error: JobError = { code, message, provider_status: status, retryable }
  if (providerError !== undefined) error.provider_error = providerError
  return error
}
