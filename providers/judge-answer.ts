import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { findAnswerFault, numberVectors } from './answer.ts'
import { type AnswerOutcome, brokenAnswer, type FailureVerdict, invalidAnswer } from './classify.ts'
import { makesImages } from './endpoints.ts'
import { extractImages } from './images.ts'
import { findError } from './provider-error.ts'
import { judgeError } from './verdict.ts'

/** Finish reasons of an answer that was aborted, not completed. */
const ABORTED =
  /^(?:abort(?:ed)?|cancell?ed|error|failed|failure|time_?out|network_error|insufficient_system_resource|malformed_function_call|unexpected_tool_call|interrupted|preempted|overloaded|(?:server|engine|internal|unknown)_error)$/i

/**
 * Decides whether a body that came with a 200, whole or assembled from a stream, is an answer. It is one if it holds no error in any shape,
 * has what its endpoint returns, and was not aborted.
 *
 * @param inputs expected number of vectors (embeddings) or results (moderations); null when the request's own shape is unusual
 */
export function judgeBody(type: CallType, body: unknown, inputs: number | null = null): AnswerOutcome {
  if (!isJsonObject(body)) return fail(invalidAnswer('the answer is not a JSON object'))
  const error = findError(body)
  if (error !== undefined) return fail(judgeError(error, type, false))
  if (type === 'response') {
    const ended = judgeStatus(body)
    if (ended) return fail(ended)
  }
  const fault = findAnswerFault(type, body, inputs)
  if (fault !== null) return fail(invalidAnswer(fault))
  if (type === 'chat' || type === 'completion') {
    const given = findAbortReason(body)
    if (given !== null) return fail(abortedAnswer(given))
  }
  if (makesImages(type)) return { ok: true, ...extractImages(body) }
  return { ok: true, body: type === 'embedding' ? numberVectors(body) : body }
}

/** The finish reason by which a choice of a chat, or of a chunk, was aborted; null when none was. */
export function findAbortReason(body: JsonObject): string | null {
  if (!Array.isArray(body.choices)) return null
  for (const choice of body.choices) {
    const reason: JsonValue | undefined = isJsonObject(choice) ? choice.finish_reason : undefined
    if (typeof reason === 'string' && ABORTED.test(reason)) return reason
  }
  return null
}

export function abortedAnswer(reason: string): FailureVerdict {
  return brokenAnswer(
    'unfinished_answer',
    `the provider aborted the answer: its finish_reason is "${reason}"`,
  )
}

/** The failure that the status of a Response tells; null: none. */
function judgeStatus(body: JsonObject): FailureVerdict | null {
  switch (body.status) {
    case 'failed':
      return judgeError(body.error, 'response', false)
    case 'cancelled':
      return brokenAnswer('unfinished_answer', 'the provider cancelled the response')
    case 'queued':
    case 'in_progress':
      return unfinished()
    default:
      return null
  }
}

/** `background: true` reached the provider, which goes on working. Another call would be billed again. */
function unfinished(): FailureVerdict {
  const message = 'the provider answered before the response was finished, as if `background` had been set'
  return { ...brokenAnswer('unfinished_response', message), class: 'final' }
}

function fail(verdict: FailureVerdict): AnswerOutcome {
  return { ok: false, verdict }
}
