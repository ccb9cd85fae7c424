import { isJsonObject, type JsonValue } from '../lib/json.ts'

const BEGINNINGS = new Set<unknown>(['response.created', 'response.queued', 'response.in_progress'])
const ENDS = new Set<unknown>(['response.completed', 'response.incomplete', 'response.failed'])

/** Whether a chunk tells that a response has begun. It is the same in every attempt. */
export function isBeginning(chunk: JsonValue): boolean {
  return isJsonObject(chunk) && BEGINNINGS.has(chunk.type)
}

/** Whether a chunk is the event that ends a response. */
export function isEnd(chunk: JsonValue): boolean {
  return isJsonObject(chunk) && ENDS.has(chunk.type)
}

/** Whether a chunk is part of the answer. A client that has seen one cannot get another attempt's answer. */
export function isPartOfAnswer(chunk: JsonValue): boolean {
  return !isBeginning(chunk) && !isEnd(chunk)
}
