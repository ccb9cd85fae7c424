import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import {
  classifyErrorObject,
  classifyStatus,
  type ProviderError,
  readProviderError,
  type Verdict,
  withProviderError,
} from './classify.ts'
import type { CallType } from './provider.ts'

/** Google's canonical codes (google.rpc.Code), which it puts beside the HTTP status in `code`. */
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
 * A day's quota is used up. The answer often names the wait for the minute's quota beside it, which would not
 * help; an hour costs at most that hour once the day is over, and one call an hour until then.
 */
const DAILY_PAUSE_MS = 60 * 60 * 1000

/** Google's "limit: 0": the account has no quota for this model, and none comes back with time. */
const NO_QUOTA = /\blimit: 0\b/

/** The verdict on an answer with an error status, whoever's words its error object is in. */
export function judgeRefusal(status: number, error: unknown, type: CallType): Verdict {
  const read = readError(error)
  return withProviderError(refine(classifyStatus(status, read, type), error), error)
}

/**
 * The verdict on an error object that came with a 200 or inside a stream.
 *
 * @param begun true when parts of the answer had come already
 */
export function judgeError(error: unknown, type: CallType, begun: boolean): Verdict {
  const read = readError(error)
  return withProviderError(refine(classifyErrorObject(read, type, begun), error), error)
}

/** Anthropic's finer code stands in `details.error_code` and only sometimes there. */
function readError(error: unknown): ProviderError {
  const read = readProviderError(error)
  const details = isJsonObject(error) ? error.details : undefined
  const code = isJsonObject(details) ? details.error_code : undefined
  return typeof code === 'string' && read.code === undefined ? { ...read, code } : read
}

function refine(verdict: Verdict, error: unknown): Verdict {
  if (!isJsonObject(error)) return verdict
  if (verdict.class === 'throttled' && error.code === 'quota_exceeded') {
    return { ...verdict, retryAfterMs: DAILY_PAUSE_MS }
  }
  const { status } = error
  if (typeof status !== 'string' || !GOOGLE_STATUSES.has(status)) return verdict
  return refineGoogle({ ...verdict, code: status }, readDetails(error.details))
}

/** Source: google.rpc error_details.proto (ErrorInfo, QuotaFailure, RetryInfo); Gemini API, "Rate limits". */
function refineGoogle(verdict: Verdict, details: JsonObject[]): Verdict {
  const reason = findDetail(details, 'ErrorInfo')?.reason
  if (reason === 'API_KEY_INVALID' || reason === 'API_KEY_EXPIRED') {
    return { ...verdict, code: reason, input: false }
  }
  if (verdict.class !== 'throttled') return verdict
  if (NO_QUOTA.test(verdict.message)) return { ...verdict, class: 'final', code: 'insufficient_quota' }
  const retryAfterMs = readDuration(findDetail(details, 'RetryInfo')?.retryDelay)
  const violations = findDetail(details, 'QuotaFailure')?.violations
  if (Array.isArray(violations) && violations.some(isDaily)) {
    return { ...verdict, retryAfterMs: Math.max(retryAfterMs ?? 0, DAILY_PAUSE_MS) }
  }
  return retryAfterMs === undefined ? verdict : { ...verdict, retryAfterMs }
}

function readDetails(details: JsonValue | undefined): JsonObject[] {
  return Array.isArray(details) ? details.filter(isJsonObject) : []
}

function findDetail(details: JsonObject[], name: string): JsonObject | undefined {
  return details.find((one) => one['@type'] === `type.googleapis.com/google.rpc.${name}`)
}

/** `GenerateRequestsPerDayPerProjectPerModel-FreeTier` and its kin. */
function isDaily(violation: JsonValue): boolean {
  if (!isJsonObject(violation)) return false
  return /per_?day/i.test(`${violation.quotaId ?? ''} ${violation.quotaMetric ?? ''}`)
}

/** A protobuf Duration in JSON: seconds with up to nine decimals and an `s`. In milliseconds. */
function readDuration(value: JsonValue | undefined): number | undefined {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)s$/.exec(value) : null
  return match ? Math.ceil(Number(match[1]) * 1000) : undefined
}
