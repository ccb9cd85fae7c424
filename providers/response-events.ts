import { isJsonObject, type JsonValue } from '../lib/json.ts'

const BEGINNINGS = new Set<unknown>(['response.created', 'response.queued', 'response.in_progress'])
const ENDS = new Set<unknown>(['response.completed', 'response.incomplete', 'response.failed'])

/** Whether a piece of a stream says that a response has begun, which every attempt says alike. */
export function isBeginning(chunk: JsonValue): boolean {
  return isJsonObject(chunk) && BEGINNINGS.has(chunk.type)
}

/** Whether a piece of a stream is the event that ends a response. */
export function isEnd(chunk: JsonValue): boolean {
  return isJsonObject(chunk) && ENDS.has(chunk.type)
}

/** Whether a piece of a stream is part of the answer. A client that has seen one cannot be given another attempt's answer. */
export function isPartOfAnswer(chunk: JsonValue): boolean {
  return !isBeginning(chunk) && !isEnd(chunk)
}
