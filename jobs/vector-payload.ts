import { hasOtherMembers, keepOtherMembers } from '../lib/embedding-answer.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource, stringifyJson, withMembers } from '../lib/json-source.ts'
import { findMember } from '../lib/json-text.ts'

/** The first byte of a packed answer. Neither JSON nor zstd begins with it. */
export const VECTORS_MARK = 1

/** The mark, and the length of the text. */
const PREFIX_BYTES = 5

/** The answer without its vectors, and the length of each vector in bytes. */
type Packed = { body: JsonObject; bytes: number[] }

/** False: `packVectors` does not pack this answer. */
function packsVectors(answer: JsonObject): answer is JsonObject & { data: JsonValue[] } {
  return Array.isArray(answer.data) && answer.data.length > 0
}

/**
 * An embeddings answer as bytes: a mark, the length of the text that follows (32 bits, little-endian), the answer as
 * JSON without its vectors, and then the vectors one after another. Null for any other answer, and if a vector is not
 * base64 as Node writes it, because unpacking must give back every character. Members of the provider's own keep their
 * text.
 */
export function packVectors(answer: JsonObject): Buffer | null {
  if (!packsVectors(answer)) return null
  const kept = keepOtherMembers(answer)
  const vectors: Buffer[] = []
  const rest: JsonValue[] = []
  for (const entry of answer.data) {
    if (!isJsonObject(entry) || typeof entry.embedding !== 'string') return null
    const vector = Buffer.from(entry.embedding, 'base64')
    if (vector.toString('base64') !== entry.embedding) return null
    vectors.push(vector)
    rest.push(withMembers(entry, { embedding: '' }))
  }
  const packed: Packed = {
    body: withMembers(kept, { data: rest }),
    bytes: vectors.map(({ length }) => length),
  }
  const text = Buffer.from(stringifyJson(packed))
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix[0] = VECTORS_MARK
  prefix.writeUInt32LE(text.length, 1)
  return Buffer.concat([prefix, text, ...vectors])
}

/** Reverses packVectors. */
export function unpackVectors(stored: Buffer): JsonObject {
  let at = PREFIX_BYTES + stored.readUInt32LE(1)
  const text = stored.toString('utf8', PREFIX_BYTES, at)
  const { body, bytes } = JSON.parse(text) as Packed
  const kept = hasOtherMembers(body) ? keepOtherMembers(keepSource(body, findMember(text, 'body')!)) : body
  const data = (kept.data as JsonObject[]).map((entry, index) => {
    const end = at + bytes[index]!
    const embedding = stored.toString('base64', at, end)
    at = end
    return withMembers(entry, { embedding })
  })
  return withMembers(kept, { data })
}
