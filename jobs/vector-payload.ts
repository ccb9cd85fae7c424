import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/** The first byte of a packed answer; neither JSON nor zstd begins with it. */
export const VECTORS_MARK = 1

/** Mark and length of the text. */
const PREFIX_BYTES = 5

/** The answer without its vectors, and how many bytes each of these has. */
type Packed = { body: JsonObject; bytes: number[] }

/**
 * An embeddings answer as a mark, the length of the text that follows (32 bits, little-endian), the answer as JSON
 * without its vectors, and then these one after the other as bytes. Null for anything else, and where a vector is
 * no base64 as Node writes it: what comes back is what was given, to the character.
 */
export function packVectors(answer: JsonObject): Buffer | null {
  const { data } = answer
  if (!Array.isArray(data) || data.length === 0) return null
  const vectors: Buffer[] = []
  const rest: JsonValue[] = []
  for (const entry of data) {
    if (!isJsonObject(entry) || typeof entry.embedding !== 'string') return null
    const vector = Buffer.from(entry.embedding, 'base64')
    if (vector.toString('base64') !== entry.embedding) return null
    vectors.push(vector)
    rest.push({ ...entry, embedding: '' })
  }
  const packed: Packed = { body: { ...answer, data: rest }, bytes: vectors.map((vector) => vector.length) }
  const text = Buffer.from(JSON.stringify(packed))
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix[0] = VECTORS_MARK
  prefix.writeUInt32LE(text.length, 1)
  return Buffer.concat([prefix, text, ...vectors])
}

/** Reverses packVectors. */
export function unpackVectors(stored: Buffer): JsonObject {
  let at = PREFIX_BYTES + stored.readUInt32LE(1)
  const { body, bytes } = JSON.parse(stored.toString('utf8', PREFIX_BYTES, at)) as Packed
  for (const [index, entry] of (body.data as JsonObject[]).entries()) {
    const end = at + bytes[index]!
    entry.embedding = stored.toString('base64', at, end)
    at = end
  }
  return body
}
