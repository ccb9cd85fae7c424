import { type BatchEndpoint, batchEndpoints } from '../../batches/batch.ts'
import { checkLine, isFault } from '../../batches/check-line.ts'
import type { InputLine } from '../../batches/read-lines.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { keepSource, keepSourcesAt, stringifyLine, withMembers } from '../../lib/json-source.ts'
import type { ErrorMembers } from '../client.ts'

/** The form of a line's result: a line of OpenAI's result files, or the job. */
export type Form = { kind: 'batch'; customId: string } | { kind: 'job' }

/** One line of the input with its request or its fault. `line` counts from 1, including blank lines. */
export type LineRequest = { line: number; form: Form; size: number } & (
  | { create: JsonObject }
  | { fault: ErrorMembers }
)

/** The server accepts no larger job. */
export const MAX_LINE_BYTES = 32 * 1024 * 1024

const types: Record<BatchEndpoint, string> = {
  '/v1/chat/completions': 'chat',
  '/v1/embeddings': 'embedding',
  '/v1/responses': 'response',
  '/v1/messages': 'message',
  '/v1/completions': 'completion',
  '/v1/moderations': 'moderation',
  '/v1/rerank': 'rerank',
  '/v1/images/generations': 'image',
  '/v1/images/edits': 'image_edit',
  '/v1/audio/speech': 'speech',
  '/v1/audio/transcriptions': 'transcription',
  '/v1/audio/translations': 'translation',
}

/** Reads a create object of a job, a failed job from `failures export`, or a line of an OpenAI batch. */
export function readRequest({ text, number: line }: InputLine): LineRequest {
  const job = { line, form: { kind: 'job' } as const, size: text?.length ?? 0 }
  if (text === null) return { ...job, fault: fault('payload_too_large', 'this line is larger than 32 MiB') }
  let value: JsonValue
  try {
    value = parseKeeping(text.toString('utf8'))
  } catch {
    return { ...job, fault: fault('invalid_request', 'this line is not JSON') }
  }
  if (!isJsonObject(value))
    return { ...job, fault: fault('invalid_request', 'this line is not a JSON object') }
  if (isExported(value)) {
    const { create } = value
    keepSourcesAt(value, ['create'])
    if (isJsonObject(create)) return { ...job, create }
    return { ...job, fault: fault('invalid_request', 'this line has no request: it could not be decrypted') }
  }
  if (!isBatchLine(value)) return { ...job, create: value }

  const customId = typeof value.custom_id === 'string' ? value.custom_id : ''
  const batch = { line, form: { kind: 'batch', customId } as const, size: job.size }
  const endpoint = batchEndpoints.find((known) => known === value.url) ?? batchEndpoints[0]
  const checked = checkLine(value, endpoint)
  if (isFault(checked)) return { ...batch, fault: fault(checked.code, checked.message, checked.param) }
  const { body } = checked
  return { ...batch, create: { type: types[endpoint], body, metadata: { custom_id: customId } } }
}

/**
 * Encodes the line to send. It gets an idempotency key, so that a line of an input is the same job however often it is sent, and a group to
 * find it by. Values in the line itself take precedence.
 */
export function encodeLine(create: JsonObject, line: number, { digest, group }: InputIdentity): string {
  return stringifyLine(
    withMembers(create, {
      idempotency_key: create.idempotency_key ?? `submit:${digest.slice(0, 32)}:${line}`,
      group: create.group ?? group,
    }),
  )
}

/** Identifies an input: SHA-256 of its bytes in hex, and a group made from it. */
export type InputIdentity = { digest: string; group: string }

/** Parses JSON. An object keeps its source text, which is sent. */
function parseKeeping(text: string): JsonValue {
  const value = JSON.parse(text) as JsonValue
  return isJsonObject(value) ? keepSource(value, text) : value
}

function isExported(value: JsonObject): boolean {
  return Object.hasOwn(value, 'job') && Object.hasOwn(value, 'create')
}

function isBatchLine(value: JsonObject): boolean {
  return Object.hasOwn(value, 'custom_id') || (Object.hasOwn(value, 'url') && Object.hasOwn(value, 'method'))
}

function fault(code: string, message: string, param: string | null = null): ErrorMembers {
  return { message, type: 'invalid_request_error', param, code }
}
