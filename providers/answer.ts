import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { CallType } from './provider.ts'

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
