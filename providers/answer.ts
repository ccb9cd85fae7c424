import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { CallType, Usage } from './provider.ts'

/**
 * What is wrong with the shape of a complete answer, or null. Only what others rely on is checked; everything
 * else passes through as it came.
 *
 * @param inputs how many vectors an embeddings answer must hold; null when the request's own shape is odd
 */
export function findAnswerFault(type: CallType, body: JsonObject, inputs: number | null): string | null {
  if (type === 'chat') return Array.isArray(body.choices) ? null : 'the answer has no list of choices'
  if (type === 'response') return Array.isArray(body.output) ? null : 'the answer has no list of output items'
  if (!Array.isArray(body.data)) return 'the answer has no list of vectors'
  if (inputs !== null && body.data.length !== inputs) {
    return `the answer has ${body.data.length} vectors for ${inputs} inputs`
  }
  if (!body.data.every(isVector)) return 'the answer has an entry without a vector'
  return areIndicesSound(body.data) ? null : 'the indices of the vectors are not 0 to n-1'
}

/** The usage that an answer states, in the names of the job API; null when it states none. */
export function readUsage(body: JsonObject): Usage | null {
  if (!isJsonObject(body.usage)) return null
  const input = readCount(body.usage.input_tokens ?? body.usage.prompt_tokens)
  const output = readCount(body.usage.output_tokens ?? body.usage.completion_tokens) ?? 0
  if (input === null) return null
  return {
    input_tokens: input,
    output_tokens: output,
    total_tokens: readCount(body.usage.total_tokens) ?? input + output,
  }
}

/** More than can be counted exactly is no count; its price would be no number. */
function readCount(value: JsonValue | undefined): number | null {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER
    ? Math.floor(value)
    : null
}

function isVector(entry: JsonValue): boolean {
  return isJsonObject(entry) && (typeof entry.embedding === 'string' || Array.isArray(entry.embedding))
}

/** Vectors are given back to their inputs by index; servers that send none answer in order. */
function areIndicesSound(data: JsonValue[]): boolean {
  const seen = new Set<JsonValue | undefined>()
  for (const entry of data) seen.add(isJsonObject(entry) ? entry.index : undefined)
  if (seen.size === 1 && seen.has(undefined)) return true
  if (seen.size !== data.length) return false
  return data.every((_, index) => seen.has(index))
}
