import type { CallType } from '../lib/call-type.ts'
import { keepOtherMembers } from '../lib/embedding-answer.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { makesImages, takesAudio } from './endpoints.ts'
import { findImagesFault } from './images.ts'

/**
 * Returns what is wrong with the shape of a complete answer, or null. It checks only what other code relies on.
 *
 * @param inputs expected number of vectors (embeddings) or results (moderations); null when the request's own shape is unusual
 */
export function findAnswerFault(type: CallType, body: JsonObject, inputs: number | null): string | null {
  if (type === 'chat') return findChatFault(body)
  if (type === 'response') return findResponseFault(body)
  if (type === 'message') return findMessageFault(body)
  if (type === 'completion') return findCompletionFault(body)
  if (type === 'moderation' || type === 'rerank') return findResultsFault(body, inputs)
  if (makesImages(type)) return findImagesFault(body)
  if (takesAudio(type)) return typeof body.text === 'string' ? null : 'the answer has no text'
  if (type === 'speech') return null
  if (!Array.isArray(body.data)) return 'the answer has no list of vectors'
  if (inputs !== null && body.data.length !== inputs) {
    return `the answer has ${body.data.length} vectors for ${inputs} inputs`
  }
  if (!body.data.every(isVector)) return 'the answer has an entry without a vector'
  return placeVectors(body.data) === null ? 'the indices of the vectors are not 0 to n-1' : null
}

/** Numbers vectors that came without an `index`. */
export function numberVectors(body: JsonObject): JsonObject {
  const data = body.data as JsonObject[]
  if (data.every(({ index }) => index !== undefined)) return body
  if (data.every(({ index }) => index === undefined)) return body
  const places = placeVectors(data)!
  const kept = keepOtherMembers(body)
  return withMembers(kept, { data: data.map((entry, at) => withMembers(entry, { index: places[at]! })) })
}

function findChatFault({ choices }: JsonObject): string | null {
  if (!Array.isArray(choices)) return 'the answer has no list of choices'
  if (choices.length === 0) return 'the answer has no choice'
  const isWhole = choices.every((choice) => isJsonObject(choice) && isJsonObject(choice.message))
  return isWhole ? null : 'the answer has a choice without a message'
}

function findResponseFault({ output, status }: JsonObject): string | null {
  if (!Array.isArray(output)) return 'the answer has no list of output items'
  if (!output.every(isJsonObject)) return 'the answer has an output item that is no object'
  // A response may be cut off before its first item.
  return output.length === 0 && status !== 'incomplete' ? 'the answer has no output item' : null
}

function findCompletionFault({ choices }: JsonObject): string | null {
  if (!Array.isArray(choices) || choices.length === 0) return 'the answer has no choice'
  const isWhole = choices.every((choice) => isJsonObject(choice) && typeof choice.text === 'string')
  return isWhole ? null : 'the answer has a choice without a text'
}

function findResultsFault({ results }: JsonObject, inputs: number | null): string | null {
  if (!Array.isArray(results) || !results.every(isJsonObject)) return 'the answer has no list of results'
  // One text may have several results. With more than one text nobody could tell which result belongs to which.
  if (inputs === null || inputs < 2 || results.length === inputs) return null
  return `the answer has ${results.length} results for ${inputs} inputs`
}

/** A message may be cut off before its first block, or be empty after a tool call. */
function findMessageFault({ content, stop_reason: reason }: JsonObject): string | null {
  if (!Array.isArray(content)) return 'the answer has no list of content'
  if (!content.every(isJsonObject)) return 'the answer has a block that is no object'
  return typeof reason === 'string' && reason !== '' ? null : 'the answer has no stop_reason'
}

function isVector(entry: JsonValue): boolean {
  if (!isJsonObject(entry)) return false
  const { embedding } = entry
  return (typeof embedding === 'string' || Array.isArray(embedding)) && embedding.length > 0
}

/**
 * Returns the input index of each vector: its `index`, or its position where no vector has one. Servers that omit zeros from JSON
 * (protobuf's rule) omit the first index; a missing index is the one that no other vector has. Null if the indices are not a permutation of
 * 0 to n-1.
 */
function placeVectors(data: JsonValue[]): number[] | null {
  const given = data.map((entry) => (isJsonObject(entry) ? (entry.index ?? null) : null))
  if (given.every((index) => index === null)) return data.map((_, at) => at)
  const taken = new Set(given.filter((index) => index !== null))
  const free = data.map((_, at) => at).filter((at) => !taken.has(at))
  const places = given.map((index) => index ?? free.shift() ?? -1)
  const isOrder = new Set(places).size === data.length && places.every((at) => isPlace(at, data.length))
  return isOrder ? (places as number[]) : null
}

function isPlace(index: JsonValue, count: number): boolean {
  return typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < count
}
