import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** Bytes of a part before compression: small enough to hold in memory, and for Redis to take without delaying others. */
export const PART_BYTES = 1024 * 1024

/** What zstd may add to incompressible content, bytes. */
const FRAME_BYTES = 1024
/** Smallest chunk size that the decompressor accepts. */
const MIN_CHUNK_BYTES = 64

/**
 * Compresses a part; always, because content may look like a zstd frame. Runs outside of the event loop and in one chunk: with Node's
 * chunks of 16 KiB it takes four times as much CPU.
 */
export function encodePart(content: Uint8Array): Promise<Buffer> {
  return compress(content, { chunkSize: content.length + FRAME_BYTES, pledgedSrcSize: content.length })
}

/**
 * Reverses encodePart.
 *
 * @param bytes size of the decompressed part; a wrong number only makes it slower
 */
export function decodePart(stored: Buffer, bytes: number): Promise<Buffer> {
  return decompress(stored, { chunkSize: Math.max(MIN_CHUNK_BYTES, bytes) })
}

/**
 * Cuts a stream into parts of `PART_BYTES`; the last may be shorter. All parts are views of one buffer, and each is overwritten when the
 * next is requested, so that memory stays flat.
 */
export async function* cutParts(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(PART_BYTES)
  let filled = 0
  for await (const chunk of content) {
    for (let offset = 0; offset < chunk.length; ) {
      const piece = chunk.subarray(offset, offset + PART_BYTES - filled)
      buffer.set(piece, filled)
      filled += piece.length
      offset += piece.length
      if (filled < PART_BYTES) continue
      yield buffer
      filled = 0
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled)
}

/** Cuts bytes in memory into parts, which are views of them. */
export function* sliceParts(content: Uint8Array): Generator<Uint8Array> {
  for (let from = 0; from < content.length; from += PART_BYTES)
    yield content.subarray(from, from + PART_BYTES)
}
