import type { JsonExcess } from '../../lib/scan-json.ts'
import { createBodyScanner } from '../json-bounds.ts'

/**
 * What a splitter finds in an upload: the text of one job; a job larger than it may be, in bytes or in structure, its text
 * thrown away; or the place from which the rest cannot be told apart, which is always the last piece.
 */
export type Piece =
  | { kind: 'job'; text: Buffer }
  | { kind: 'too_large'; excess: JsonExcess | null }
  | { kind: 'broken'; what: string }

/** Turns the bytes of an upload, cut anywhere, into pieces in order. Holds no more than one job. */
export type Splitter = {
  push(chunk: Buffer): Iterable<Piece>
  /** The upload is complete. */
  end(): Iterable<Piece>
}

/** Gathers the parts of one job until it is complete or has grown beyond `limit` bytes. */
export type PieceBuffer = {
  add(part: Buffer): void
  /** The piece, and begins the next. Null: nothing was added. */
  take(): Piece | null
}

export function createPieceBuffer(limit: number): PieceBuffer {
  let parts: Buffer[] = []
  let size = 0
  let scanner = createBodyScanner()
  let excess: JsonExcess | null = null
  return {
    add(part) {
      if (part.length === 0) return
      size += part.length
      excess ??= scanner.push(part)
      if (excess !== null || size > limit) parts = []
      else parts.push(part)
    },
    take() {
      if (size === 0) return null
      const piece: Piece =
        excess !== null || size > limit
          ? { kind: 'too_large', excess }
          : { kind: 'job', text: parts.length === 1 ? parts[0]! : Buffer.concat(parts) }
      parts = []
      size = 0
      scanner = createBodyScanner()
      excess = null
      return piece
    },
  }
}

const byteOrderMark = [0xef, 0xbb, 0xbf]

/** Takes a UTF-8 byte order mark off the very beginning of an upload, however that is cut. */
export function createMarkRemover(): (chunk: Buffer) => Buffer {
  let matched = 0
  let done = false
  return (chunk) => {
    let start = 0
    while (!done && start < chunk.length) {
      if (chunk[start] !== byteOrderMark[matched]) {
        done = true
        // A mark that began and broke off is no mark: its bytes belong to the upload.
        if (matched > 0)
          return Buffer.concat([Buffer.from(byteOrderMark.slice(0, matched)), chunk.subarray(start)])
        break
      }
      matched++
      start++
      if (matched === byteOrderMark.length) done = true
    }
    return chunk.subarray(start)
  }
}
