import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { findCause } from './failure-cause.ts'
import type { FailureCause, FailureClass, MediaPart } from './provider.ts'
import type { ProviderError } from './provider-error.ts'

/** What a failure means, before the answer's status and headers are added. */
export type FailureVerdict = {
  class: FailureClass
  cause: FailureCause
  code: string
  message: string
  ambiguous: boolean
  input: boolean
  /** The provider's error object, unchanged; absent where it sent none. */
  providerError?: JsonObject
  /** The wait that the error body asks for, ms. Headers take precedence. */
  retryAfterMs?: number
  /** See ProviderFailure. */
  staleConnection?: boolean
}

/** The outcome of reading an answer with status 2xx. */
export type AnswerOutcome =
  /** `media`: see ProviderSuccess. */
  { ok: true; body: JsonObject; media?: readonly MediaPart[] } | { ok: false; verdict: FailureVerdict }

/** Client errors that are not about the input: another input would fail too. */
const NOT_INPUT =
  /api[_ ]?key|auth|permission|model_not_found|unknown_model|unsupported_parameter|unknown_parameter/i

const CLASSES: Record<FailureCause, FailureClass> = {
  rate: 'throttled',
  overloaded: 'retryable',
  capacity: 'retryable',
  server: 'retryable',
  connection: 'retryable',
  answer: 'retryable',
  quota: 'final',
  invalid_request: 'final',
  too_long: 'final',
  auth: 'final',
  filter: 'final',
  not_found: 'final',
  timeout: 'timeout',
  aborted: 'aborted',
}

/**
 * Classifies an answer with an error status by what the error is about: a rate limit, a busy or failing server, or something that a retry
 * cannot help, such as no credit. None is ambiguous: the provider answered, and does not bill an error.
 */
export function classifyStatus(status: number, error: ProviderError, type: CallType): FailureVerdict {
  const cause = findCause(status, error)
  return {
    class: CLASSES[cause],
    cause,
    code: error.code ?? error.type ?? `http_${status}`,
    message: error.message ?? `the provider answered with status ${status}`,
    ambiguous: false,
    input: isAboutInput(cause, status, error, type),
  }
}

/**
 * Classifies an error object that came with a 200 or inside a stream: by the status that it names, or else by its wording.
 *
 * @param begun true when part of the answer had come: work was done and may be billed
 */
export function classifyErrorObject(error: ProviderError, type: CallType, begun: boolean): FailureVerdict {
  const status = [error.status, Number(error.code)].find(
    (one) => one !== undefined && one >= 400 && one < 600,
  )
  if (status !== undefined) return { ...classifyStatus(status, error, type), ambiguous: begun }
  const cause = findCause(null, error)
  return {
    class: CLASSES[cause],
    cause,
    code: error.code ?? error.type ?? 'provider_error',
    message: error.message ?? 'the provider answered with an error',
    ambiguous: begun,
    input: isAboutInput(cause, 400, error, type),
  }
}

/** The attempt timed out. It is unknown what the provider did until then. */
export function timedOut(): FailureVerdict {
  const message = 'no answer in time'
  return { class: 'timeout', cause: 'timeout', code: 'timeout', message, ambiguous: true, input: false }
}

/** The caller aborted the call. */
export function aborted(sent: boolean): FailureVerdict {
  return {
    class: 'aborted',
    cause: 'aborted',
    code: 'aborted',
    message: 'aborted by the caller',
    ambiguous: sent,
    input: false,
  }
}

/** A 200 whose body is not what its endpoint returns. A proxy is the likely cause, so a retry may help. */
export function invalidAnswer(message: string): FailureVerdict {
  return brokenAnswer('invalid_answer', message)
}

/** The answer began but did not end. */
export function truncatedStream(): FailureVerdict {
  return brokenAnswer('truncated_stream', 'the stream ended before the answer was complete')
}

/** An answer that cannot be used, and may have been billed. */
export function brokenAnswer(code: string, message: string): FailureVerdict {
  return { class: 'retryable', cause: 'answer', code, message, ambiguous: true, input: false }
}

/** Attaches the error object from which the verdict was read. */
export function withProviderError(verdict: FailureVerdict, error: unknown): FailureVerdict {
  return isJsonObject(error) ? { ...verdict, providerError: error } : verdict
}

/**
 * A content filter's refusal is about the input with any status: OpenRouter sends 403. Embeddings may also fail with 413 because of their
 * input: several together may be too large where each alone is not.
 */
function isAboutInput(cause: FailureCause, status: number, error: ProviderError, type: CallType): boolean {
  if (cause !== 'invalid_request' && cause !== 'too_long' && cause !== 'filter') return false
  if (cause === 'filter') return true
  if (status !== 400 && status !== 422 && !(status === 413 && type === 'embedding')) return false
  if (error.param === 'model') return false
  return !NOT_INPUT.test(`${error.code ?? ''} ${error.type ?? ''}`)
}
