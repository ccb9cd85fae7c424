import { createMarkRemover, createPieceBuffer, type Piece, type Splitter } from './pieces.ts'

const newline = 0x0a

/** Splits NDJSON into lines. Blank lines are skipped. The last line needs no line break. */
export function createLineSplitter(options: { limit: number }): Splitter {
  const line = createPieceBuffer(options.limit)
  const removeMark = createMarkRemover()
  return {
    *push(chunk) {
      const bytes = removeMark(chunk)
      let start = 0
      for (;;) {
        const end = bytes.indexOf(newline, start)
        if (end === -1) break
        line.add(bytes.subarray(start, end))
        yield* takeLine(line.take())
        start = end + 1
      }
      line.add(bytes.subarray(start))
    },
    *end() {
      yield* takeLine(line.take())
    },
  }
}

function* takeLine(piece: Piece | null): Iterable<Piece> {
  if (piece === null || (piece.kind === 'job' && isBlank(piece.text))) return
  yield piece
}

function isBlank(text: Buffer): boolean {
  for (const byte of text) {
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false
  }
  return true
}
