import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { CallType, FailureClass } from './provider.ts'

/** What a failure means, before the answer's status and headers are added. */
export type Verdict = {
  class: FailureClass
  code: string
  message: string
  ambiguous: boolean
  input: boolean
  /** The provider's error object as it came; absent where it gave none. */
  providerError?: JsonObject
  /** How long the error itself asks to wait, in ms; headers that say so win. */
  retryAfterMs?: number
}

/** What was read of an answer with status 2xx. */
export type Outcome = { ok: true; body: JsonObject } | { ok: false; verdict: Verdict }

/** The parts of a provider's error object that decide; absent where it gave none. */
export type ProviderError = { code?: string; type?: string; param?: string; message?: string }

/** Money is out: a 429 in form, but no waiting brings it back. */
const QUOTA_CODES = new Set([
  'insufficient_quota',
  'billing_hard_limit_reached',
  'billing_not_active',
  'billing_error',
  'access_terminated',
  // OpenAI, "Error codes": all of them 429, and none passes by waiting.
  'credit_balance_exhausted',
  'organization_spend_limit_exceeded',
  'project_spend_limit_exceeded',
  'organization_usage_limit_exceeded',
  // Anthropic, "Errors": limits of spending, in `details.error_code` of a 429.
  'contract_spend_limit_reached',
  'enforced_spend_limit_reached',
])
const THROTTLE_CODES = new Set([
  'rate_limit_exceeded',
  'rate_limit_error',
  'rate_limit_reached',
  'too_many_requests',
  'slow_down',
  'requests',
  'tokens',
])
const FINAL_CODES = new Set([
  'invalid_request_error',
  'invalid_prompt',
  'authentication_error',
  'permission_error',
  'not_found_error',
  'request_too_large',
  'model_not_found',
  'invalid_api_key',
  'content_filter',
  'content_policy_violation',
  'context_length_exceeded',
  'string_above_max_length',
])
/** Client errors that say nothing about the input: another input would fare no better. */
const NOT_INPUT =
  /api[_ ]?key|auth|permission|model_not_found|unknown_model|unsupported_parameter|unknown_parameter/i

/** Failures before a connection stood, so that nothing can have reached the provider. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EMFILE',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_INVALID_ARG',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
])
/** OpenSSL's and Node's names for a refused certificate or handshake. */
const TLS_REFUSED =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/
const TIMED_OUT = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

const MAX_MESSAGE = 500
/** Characters of JSON; of a larger error object only the four members that OpenAI gives are kept. */
const MAX_ERROR_BODY = 16_384
/** Error objects are flat but for a detail or two. */
const MAX_ERROR_DEPTH = 8
const KEY_LIKE = /\b(?:sk|gsk|xai)-[\w*.-]{4,}|\bAIza[\w-]{10,}|\bBearer\s+\S+/gi

/**
 * The class of an answer with an error status. 429 is throttling unless it is about money or about a request
 * larger than the whole limit; 408, 409, 425 and 5xx are worth another try; every other status is final. None is
 * ambiguous: the provider answered, and what it answers with an error it does not bill.
 */
export function classifyStatus(status: number, error: ProviderError, type: CallType): Verdict {
  const code = error.code ?? error.type ?? `http_${status}`
  const message = error.message ?? `the provider answered with status ${status}`
  const verdict = { code, message, ambiguous: false, input: false }
  if (status === 429) {
    const hopeless = isAboutMoney(error) || /^request too large\b/i.test(message)
    return { ...verdict, class: hopeless ? 'final' : 'throttled' }
  }
  if (status >= 500 || status === 408 || status === 409 || status === 425)
    return { ...verdict, class: 'retryable' }
  return { ...verdict, class: 'final', input: isAboutInput(status, error, type) }
}

/**
 * The class of an error object that came with a 200 or inside a stream: by the status it names, else by its code.
 *
 * @param begun true when parts of the answer had come already: work was done and may be billed
 */
export function classifyErrorObject(error: ProviderError, type: CallType, begun: boolean): Verdict {
  const status = Number(error.code)
  if (status >= 400 && status < 600) return { ...classifyStatus(status, error, type), ambiguous: begun }
  const names = [error.code, error.type].filter((name) => name !== undefined)
  const verdict = {
    code: names[0] ?? 'provider_error',
    message: error.message ?? 'the provider answered with an error',
    ambiguous: begun,
    input: false,
  }
  if (isAboutMoney(error)) return { ...verdict, class: 'final' }
  if (names.some((name) => THROTTLE_CODES.has(name))) return { ...verdict, class: 'throttled' }
  if (names.some((name) => FINAL_CODES.has(name))) {
    return { ...verdict, class: 'final', input: isAboutInput(400, error, type) }
  }
  return { ...verdict, class: 'retryable' }
}

/**
 * The class of a call without a complete answer. Where no connection stood the provider cannot have seen the
 * request; everything else may have been worked on, and is ambiguous.
 */
export function classifyConnectionError(error: unknown): Verdict {
  const codes = collectCodes(error)
  const name = codes[0] ?? 'unknown cause'
  if (codes.some((code) => TIMED_OUT.has(code))) return timedOut()
  const connected = !codes.some((code) => NOT_CONNECTED.has(code) || TLS_REFUSED.test(code))
  return {
    class: 'retryable',
    code: 'connection_error',
    message: connected
      ? `the connection broke before the answer was complete (${name})`
      : `no connection to the provider (${name})`,
    ambiguous: connected,
    input: false,
  }
}

/** The attempt's time was up; what the provider did until then is unknown. */
export function timedOut(): Verdict {
  return { class: 'timeout', code: 'timeout', message: 'no answer in time', ambiguous: true, input: false }
}

/** The caller gave up. */
export function aborted(sent: boolean): Verdict {
  return {
    class: 'aborted',
    code: 'aborted',
    message: 'aborted by the caller',
    ambiguous: sent,
    input: false,
  }
}

/** A 200 whose body is not what its endpoint answers: likely a proxy's doing, so worth another try. */
export function invalidAnswer(message: string): Verdict {
  return { class: 'retryable', code: 'invalid_answer', message, ambiguous: true, input: false }
}

/** Reads OpenAI's `{"error": {…}}` content, a bare string, or the flat objects that gateways send. */
export function readProviderError(value: unknown): ProviderError {
  if (typeof value === 'string') return { message: value }
  if (!isJsonObject(value)) return {}
  const error: ProviderError = {}
  const code = value.code ?? undefined
  if (typeof code === 'string' || typeof code === 'number') error.code = String(code)
  if (typeof value.type === 'string') error.type = value.type
  if (typeof value.param === 'string') error.param = value.param
  const message = value.message ?? value.detail
  if (typeof message === 'string') error.message = message
  if (error.code === '') delete error.code
  return error
}

/** Keeps the error object that a verdict was read from. */
export function withProviderError(verdict: Verdict, error: unknown): Verdict {
  return isJsonObject(error) ? { ...verdict, providerError: error } : verdict
}

/** Makes an error object fit to be shown and stored: no keys, and no larger than it needs to be. */
export function redactProviderError(body: JsonObject, secrets: readonly string[]): JsonObject {
  const clean = cleanValue(body, secrets, 0) as JsonObject
  if (JSON.stringify(clean).length <= MAX_ERROR_BODY) return clean
  const { message, type, param, code } = readProviderError(clean)
  return { message: shorten(message ?? ''), type: type ?? null, param: param ?? null, code: code ?? null }
}

function cleanValue(value: JsonValue | undefined, secrets: readonly string[], depth: number): JsonValue {
  if (typeof value === 'string') return removeKeys(value, secrets)
  if (typeof value !== 'object' || value === null) return value ?? null
  if (depth >= MAX_ERROR_DEPTH) return null
  if (Array.isArray(value)) return value.map((item) => cleanValue(item, secrets, depth + 1))
  const members = Object.entries(value).map(([name, member]) => [
    name,
    cleanValue(member, secrets, depth + 1),
  ])
  return Object.fromEntries(members)
}

/** Makes a message fit to be shown and stored: no keys, no more than 500 characters. */
export function redact(message: string, secrets: readonly string[]): string {
  return shorten(removeKeys(message, secrets))
}

function removeKeys(text: string, secrets: readonly string[]): string {
  let clean = text
  for (const secret of secrets) if (secret.length >= 4) clean = clean.replaceAll(secret, '[key]')
  return clean.replace(KEY_LIKE, '[key]')
}

function shorten(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE - 1)}…` : text
}

function isAboutMoney(error: ProviderError): boolean {
  return QUOTA_CODES.has(error.code ?? '') || QUOTA_CODES.has(error.type ?? '')
}

/** Embeddings also fail with 413 for what they contain: together they may be too large where each alone is not. */
function isAboutInput(status: number, error: ProviderError, type: CallType): boolean {
  if (status !== 400 && status !== 422 && !(status === 413 && type === 'embedding')) return false
  if (error.param === 'model') return false
  return !NOT_INPUT.test(`${error.code ?? ''} ${error.type ?? ''}`)
}

/** The codes of an error, its causes and the attempts joined in it, outermost first. */
function collectCodes(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 5) return []
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : []
  const joined = error instanceof AggregateError ? error.errors : []
  return [...own, ...[error.cause, ...joined].flatMap((inner) => collectCodes(inner, depth + 1))]
}
