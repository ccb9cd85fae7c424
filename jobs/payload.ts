import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { JsonObject } from '../lib/json.ts'
import { parseWithSource, sourceOf } from '../lib/json-source.ts'
import { packsVectors, packVectors, unpackVectors, VECTORS_MARK } from './vector-payload.ts'

/** Below this size compression costs more than it saves. */
const COMPRESS_FROM_BYTES = 2048

/** The first bytes of every zstd frame (RFC 8878, 3.1.1); no JSON text begins with them. */
const ZSTD_MAGIC = 0xfd2fb528

/**
 * A body or result as it rests in Redis: its JSON text as it came, as a zstd frame where it is large; embeddings with their vectors as
 * bytes, which is as small as compressed text and takes a tenth of the time.
 */
export function encodePayload(value: JsonObject): Buffer {
  const packed = packVectors(value)
  if (packed) return packed
  const text = Buffer.from(sourceOf(value))
  return text.length < COMPRESS_FROM_BYTES ? text : zstdCompressSync(text)
}

/**
 * The same; a short text stays one. A command to Redis that holds no buffer among its many arguments is put together in a third of
 * the time.
 */
export function encodeArgument(value: JsonObject): Buffer | string {
  const text = packsVectors(value) ? null : sourceOf(value)
  return text !== null && Buffer.byteLength(text) < COMPRESS_FROM_BYTES ? text : encodePayload(value)
}

/** Reverses encodePayload; the object has the text for its source. */
export function decodePayload(stored: Buffer): JsonObject {
  const text = decodePayloadText(stored)
  return text === null ? unpackVectors(stored) : parseWithSource(text)
}

/** The text alone, which whoever passes it on need not parse; null for embeddings, whose text is to be made of their vectors. */
export function decodePayloadText(stored: Buffer): string | null {
  if (stored[0] === VECTORS_MARK) return null
  const compressed = stored.length >= 4 && stored.readUInt32LE(0) === ZSTD_MAGIC
  return (compressed ? zstdDecompressSync(stored) : stored).toString('utf8')
}
