import { endianness } from 'node:os'
import { keepOtherMembers } from '../lib/embedding-answer.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'

/** How clients ask for vectors. base64 is little-endian float32, a quarter of the size of decimals. */
export type VectorFormat = 'float' | 'base64'

const LITTLE_ENDIAN = endianness() === 'LE'
const BYTES_PER_FLOAT = 4

/**
 * Converts the vectors of an embeddings answer to the requested format. Stored vectors are base64; floats from servers that ignore
 * `encoding_format` are packed. The given body is not changed. Entries that are neither pass through, and a body that already has the
 * format is returned itself.
 */
export function encodeVectors(body: JsonObject, format: VectorFormat): JsonObject {
  if (!Array.isArray(body.data)) return body
  const other = format === 'float' ? (one: unknown) => typeof one === 'string' : Array.isArray
  if (!body.data.some((entry) => isJsonObject(entry) && other(entry.embedding))) return body
  const kept = keepOtherMembers(body)
  const data = body.data.map((entry) => {
    if (!isJsonObject(entry)) return entry
    const vector = entry.embedding
    if (format === 'float' && typeof vector === 'string') {
      return withMembers(entry, { embedding: unpackVector(vector) })
    }
    if (format === 'base64' && Array.isArray(vector)) {
      return withMembers(entry, { embedding: packVector(vector.map(Number)) })
    }
    return entry
  })
  return withMembers(kept, { data })
}

/** A stored result in the format that a job asked for; null: as stored. */
export function renderResult(stored: JsonObject, format: string | null): JsonObject {
  return format === 'float' || format === 'base64' ? encodeVectors(stored, format) : stored
}

/** Packs floats as base64 of little-endian float32. Values are rounded to float32. */
export function packVector(vector: ArrayLike<number>): string {
  const floats = new Float32Array(vector)
  const bytes = Buffer.from(floats.buffer, 0, floats.byteLength)
  return (LITTLE_ENDIAN ? bytes : bytes.swap32()).toString('base64')
}

/** Unpacks a vector to the float32 values, each as the double with the shortest decimal form. */
export function unpackVector(packed: string): number[] {
  const decoded = Buffer.from(packed, 'base64')
  const length = Math.floor(decoded.length / BYTES_PER_FLOAT)
  // A copy: small buffers share a pool and need not start on a multiple of four.
  const bytes = Buffer.from(Uint8Array.prototype.slice.call(decoded, 0, length * BYTES_PER_FLOAT))
  const floats = new Float32Array(length)
  bytes.copy(Buffer.from(floats.buffer))
  if (!LITTLE_ENDIAN) Buffer.from(floats.buffer).swap32()
  const vector = new Array<number>(length)
  for (let index = 0; index < length; index += 1) vector[index] = shortenFloat(floats[index]!)
  return vector
}

/**
 * The double with the fewest decimals that rounds to the same float32: 0.1 rather than 0.10000000149011612. An integer divided by a power
 * of ten is the double nearest to that decimal, which JSON prints short. A float32 in (½, 1) needs at most seven decimals; smaller ones may
 * need more, larger ones take the slow way.
 */
export function shortenFloat(value: number): number {
  if (value > -1 && value < 1) {
    for (let scale = 1e7; scale <= 1e12; scale *= 10) {
      const short = Math.round(value * scale) / scale
      if (Math.fround(short) === value) return short
    }
  }
  // Nine significant digits identify every float32.
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return Number.isFinite(value) ? Number(value.toPrecision(9)) : value
}
