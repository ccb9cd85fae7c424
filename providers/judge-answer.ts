import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { findAnswerFault, numberVectors } from './answer.ts'
import { type AnswerOutcome, brokenAnswer, type FailureVerdict, invalidAnswer } from './classify.ts'
import { makesPictures } from './endpoints.ts'
import { takePictures } from './pictures.ts'
import { findError } from './provider-error.ts'
import { judgeError } from './verdict.ts'

/** Reasons by which servers say that an answer was given up, not ended. */
const GIVEN_UP =
  /^(?:abort(?:ed)?|cancell?ed|error|failed|failure|time_?out|network_error|insufficient_system_resource|malformed_function_call|unexpected_tool_call|interrupted|preempted|overloaded|(?:server|engine|internal|unknown)_error)$/i

/**
 * The one verdict on a body that came with a 200, whole or put together from a stream: whether it is an answer. It is
 * when it holds no error in any shape, has what its endpoint answers, and did not end by being given up.
 *
 * @param inputs how many vectors an embeddings answer must hold; null when the request's own shape is odd
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
    const given = findGivenUp(body)
    if (given !== null) return fail(givenUp(given))
  }
  if (makesPictures(type)) return { ok: true, ...takePictures(body) }
  return { ok: true, body: type === 'embedding' ? numberVectors(body) : body }
}

/** The reason by which a choice of a chat, or of a chunk of one, was given up; null when none was. */
export function findGivenUp(body: JsonObject): string | null {
  if (!Array.isArray(body.choices)) return null
  for (const choice of body.choices) {
    const reason: JsonValue | undefined = isJsonObject(choice) ? choice.finish_reason : undefined
    if (typeof reason === 'string' && GIVEN_UP.test(reason)) return reason
  }
  return null
}

export function givenUp(reason: string): FailureVerdict {
  return brokenAnswer(
    'unfinished_answer',
    `the provider gave the answer up: its finish_reason is "${reason}"`,
  )
}

/** What the status of a Response says against it; null: nothing. */
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

/** `background: true` went to the provider, where the work goes on. Another call would buy it twice. */
function unfinished(): FailureVerdict {
  const message = 'the provider answered before the response was finished: `background` is not for upstream'
  return { ...brokenAnswer('unfinished_response', message), class: 'final' }
}

function fail(verdict: FailureVerdict): AnswerOutcome {
  return { ok: false, verdict }
}
