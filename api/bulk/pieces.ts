import type { JsonExcess } from '../../lib/scan-json.ts'
import { createBodyScanner } from '../json-bounds.ts'

/**
 * What a splitter finds in an upload: the text of one job; a job that is too large, in bytes or in structure, without its text; or the
 * point after which nothing can be split, which is always the last piece.
 */
export type Piece =
  | { kind: 'job'; text: Buffer }
  | { kind: 'too_large'; excess: JsonExcess | null }
  | { kind: 'broken'; what: string }

/** Splits the bytes of an upload, which arrive in any chunks, into pieces in order. Holds at most one job. */
export type Splitter = {
  push(chunk: Buffer): Iterable<Piece>
  /** Ends the upload. */
  end(): Iterable<Piece>
}

/** Collects the parts of one job, up to `limit` bytes. */
export type PieceBuffer = {
  add(part: Buffer): void
  /** Returns the piece and begins the next. Null: nothing was added. */
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

/** Removes a UTF-8 byte order mark from the beginning of an upload, also when it is split between chunks. */
export function createMarkRemover(): (chunk: Buffer) => Buffer {
  let matched = 0
  let done = false
  return (chunk) => {
    let start = 0
    while (!done && start < chunk.length) {
      if (chunk[start] !== byteOrderMark[matched]) {
        done = true
        // An incomplete mark is not one: its bytes belong to the upload.
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
