import { hash } from 'node:crypto'
import type { JsonObject } from '../lib/json.ts'
import { stringifyLine } from '../lib/json-source.ts'
import type { LineFailure } from './batch.ts'

/** The outcome of one line. `request` is its job's id, null without a job. */
export type LineAnswer = {
  customId: string
  request: string | null
  outcome: { result: JsonObject } | { failure: LineFailure }
}

/**
 * Renders one line of a result file, with its line break. The id depends only on the batch and the index: it is the same however often the
 * line is written.
 */
export function renderLine(batch: string, index: number, answer: LineAnswer): string {
  const id = `batch_req_${hash('sha256', `${batch}:${index}`).slice(0, 32)}`
  const { response, error } = describe(answer)
  return `${stringifyLine({ id, custom_id: answer.customId, response, error })}\n`
}

function describe({ request, outcome }: LineAnswer) {
  if ('result' in outcome) return { response: respond(200, request, outcome.result), error: null }
  const { failure } = outcome
  if ('status' in failure) {
    return { response: respond(failure.status, request, { error: failure.error }), error: null }
  }
  return { response: null, error: { code: failure.code, message: failure.message } }
}

function respond(status: number, request: string | null, body: object) {
  return { status_code: status, request_id: request ?? '', body }
}
