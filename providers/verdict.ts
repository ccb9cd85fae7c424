import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { classifyErrorObject, classifyStatus, type FailureVerdict, withProviderError } from './classify.ts'
import { type ProviderError, readProviderError } from './provider-error.ts'
import { MAX_WAIT_MS, readErrorWait } from './waits.ts'

/** Google's canonical codes (google.rpc.Code). Google sends them in `status`, beside the HTTP status in `code`. */
const GOOGLE_STATUSES = new Set([
  'INVALID_ARGUMENT',
  'FAILED_PRECONDITION',
  'OUT_OF_RANGE',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'NOT_FOUND',
  'ABORTED',
  'ALREADY_EXISTS',
  'RESOURCE_EXHAUSTED',
  'CANCELLED',
  'DATA_LOSS',
  'UNKNOWN',
  'INTERNAL',
  'UNIMPLEMENTED',
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
])

/**
 * Pause when a day's quota is used up. The answer often names the wait for the minute's quota instead, which does not help. With an hour's
 * pause, one call an hour is lost, and work resumes at most an hour after the quota resets.
 */
const DAILY_PAUSE_MS = MAX_WAIT_MS

/** Wording of a quota for a day or longer, for errors that name no wait. */
const DAILY = /\bper (?:day|month)\b|\bdaily\b|\bmonthly\b|\/ ?(?:day|month)\b/i

/** Google's "limit: 0": the account has no quota for this model at all. */
const NO_QUOTA = /\blimit: 0\b/

/**
 * Classifies an answer with an error status, of any provider.
 *
 * @param now unix milliseconds, for times that the error names
 */
export function judgeRefusal(
  status: number,
  error: unknown,
  type: CallType,
  now = Date.now(),
): FailureVerdict {
  const read = readError(error)
  return withProviderError(refine(classifyStatus(status, read, type), error, now), error)
}

/**
 * Classifies an error object that came with a 200 or inside a stream.
 *
 * @param begun true when part of the answer had come
 */
export function judgeError(error: unknown, type: CallType, begun: boolean, now = Date.now()): FailureVerdict {
  const read = readError(error)
  return withProviderError(refine(classifyErrorObject(read, type, begun), error, now), error)
}

/** Anthropic sends a more precise code in `details.error_code`, sometimes only there; Google names its errors in `status`. */
function readError(error: unknown): ProviderError {
  const read = readProviderError(error)
  if (!isJsonObject(error)) return read
  const { details, status } = error
  const code = isJsonObject(details) ? details.error_code : undefined
  if (typeof code === 'string' && read.code === undefined) return { ...read, code }
  const isGoogle = typeof status === 'string' && GOOGLE_STATUSES.has(status)
  return isGoogle && read.type === undefined ? { ...read, type: status } : read
}

function refine(verdict: FailureVerdict, error: unknown, now: number): FailureVerdict {
  const asked = readErrorWait(error, verdict.message, now)
  const waiting: FailureVerdict =
    asked === undefined || verdict.class === 'final' ? { ...verdict } : { ...verdict, retryAfterMs: asked }
  if (verdict.class === 'throttled' && asked === undefined && DAILY.test(verdict.message)) {
    waiting.retryAfterMs = DAILY_PAUSE_MS
  }
  if (!isJsonObject(error)) return waiting
  if (verdict.class === 'throttled' && error.code === 'quota_exceeded') {
    return { ...waiting, retryAfterMs: DAILY_PAUSE_MS }
  }
  const { status } = error
  if (typeof status !== 'string' || !GOOGLE_STATUSES.has(status)) return waiting
  return refineGoogle({ ...waiting, code: status }, readDetails(error.details))
}

/** Source: google.rpc error_details.proto (ErrorInfo, QuotaFailure); Gemini API, "Rate limits". */
function refineGoogle(verdict: FailureVerdict, details: JsonObject[]): FailureVerdict {
  const reason = findDetail(details, 'ErrorInfo')?.reason
  if (reason === 'API_KEY_INVALID' || reason === 'API_KEY_EXPIRED') {
    return { ...verdict, cause: 'auth', code: reason, input: false }
  }
  if (verdict.class !== 'throttled') return verdict
  if (NO_QUOTA.test(verdict.message)) {
    const { retryAfterMs: _wait, ...rest } = verdict
    return { ...rest, class: 'final', cause: 'quota', code: 'insufficient_quota' }
  }
  const violations = findDetail(details, 'QuotaFailure')?.violations
  if (Array.isArray(violations) && violations.some(isDaily)) {
    return { ...verdict, retryAfterMs: Math.max(verdict.retryAfterMs ?? 0, DAILY_PAUSE_MS) }
  }
  return verdict
}

function readDetails(details: JsonValue | undefined): JsonObject[] {
  return Array.isArray(details) ? details.filter(isJsonObject) : []
}

function findDetail(details: JsonObject[], name: string): JsonObject | undefined {
  return details.find((one) => one['@type'] === `type.googleapis.com/google.rpc.${name}`)
}

/** Matches `GenerateRequestsPerDayPerProjectPerModel-FreeTier` and similar ids. */
function isDaily(violation: JsonValue): boolean {
  if (!isJsonObject(violation)) return false
  return /per_?day/i.test(`${violation.quotaId ?? ''} ${violation.quotaMetric ?? ''}`)
}
