import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { JsonObject } from '../lib/json.ts'
import { parseWithSource, sourceOf } from '../lib/json-source.ts'
import { ANSWER_DICTIONARY } from './answer-dictionary.ts'
import { packVectors, unpackVectors, VECTORS_MARK } from './vector-payload.ts'

/**
 * Sizes in bytes from which compression is worth its CPU time, 30 µs to write and 20 to read: a body of 2 KB shrinks to
 * half, an answer of 1 KB to 37 %.
 */
const COMPRESS_BODIES_FROM = 1024
const COMPRESS_RESULTS_FROM = 768

/**
 * The first byte of an answer that was compressed with the dictionary. VECTORS_MARK is 1, and encrypted data begins
 * with 2.
 */
const DICTIONARY_MARK = 3

/** The first bytes of every zstd frame (RFC 8878, 3.1.1). No JSON text begins with them. */
const ZSTD_MAGIC = 0xfd2fb528

/**
 * A body as Redis stores it: its JSON text as received, or a zstd frame of it if it is large. A short text stays a
 * string, because building a Redis command with many arguments takes a third of the time if none of them is a buffer.
 */
export function encodeBody(body: JsonObject): Buffer | string {
  const text = sourceOf(body)
  return Buffer.byteLength(text) < COMPRESS_BODIES_FROM ? text : zstdCompressSync(text)
}

/**
 * A result as Redis stores it. A large one is compressed with the dictionary of answers. Embeddings have their vectors
 * as bytes, which is as small as compressed text and takes a tenth of the time.
 */
export function encodeResult(result: JsonObject): Buffer | string {
  const packed = packVectors(result)
  if (packed) return packed
  const text = sourceOf(result)
  if (Buffer.byteLength(text) < COMPRESS_RESULTS_FROM) return text
  return Buffer.concat([
    Buffer.of(DICTIONARY_MARK),
    zstdCompressSync(text, { dictionary: ANSWER_DICTIONARY }),
  ])
}

/** Reverses encodeBody and encodeResult. The text is the source of the object. */
export function decodePayload(stored: Buffer): JsonObject {
  const text = decodePayloadText(stored)
  return text === null ? unpackVectors(stored) : parseWithSource(text)
}

/**
 * Only the text, for a caller that passes it on without parsing; null for embeddings, whose text has to be made from
 * their vectors.
 */
export function decodePayloadText(stored: Buffer): string | null {
  if (stored[0] === VECTORS_MARK) return null
  if (stored[0] === DICTIONARY_MARK)
    return zstdDecompressSync(stored.subarray(1), { dictionary: ANSWER_DICTIONARY }).toString('utf8')
  const compressed = stored.length >= 4 && stored.readUInt32LE(0) === ZSTD_MAGIC
  return (compressed ? zstdDecompressSync(stored) : stored).toString('utf8')
}
