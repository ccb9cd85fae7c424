import type { JsonExcess, JsonScanner } from '../lib/scan-json.ts'

/** A line of an input file that is not blank. */
export type InputLine = {
  /** Null: the line is too long, or has `excess`. */
  text: Buffer | null
  excess?: JsonExcess
  /** Number of the line in the file, from 1; blank lines count. */
  number: number
  /** Byte offset of its beginning. */
  start: number
  /** Byte offset of the next line. */
  end: number
}

const newline = 0x0a
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Reads the lines of a file that arrives in chunks. Blank lines are skipped, and the last line needs no line break. Holds at most one line
 * of up to `limit` bytes in memory.
 *
 * @param from byte offset of the given content: the beginning of a line
 * @param createScanner makes the scanner of each line's JSON
 */
export async function* readLines(
  content: AsyncIterable<Uint8Array>,
  { from = 0, limit, createScanner }: { from?: number; limit: number; createScanner?: () => JsonScanner },
): AsyncGenerator<InputLine> {
  let parts: Buffer[] = []
  let size = 0
  let number = 0
  let start = from
  let at = from
  let scanner = createScanner?.()
  let excess: JsonExcess | null = null

  const add = (piece: Buffer) => {
    size += piece.length
    at += piece.length
    excess ??= scanner?.push(piece) ?? null
    if (size > limit || excess !== null) parts = []
    else if (piece.length > 0) parts.push(piece)
  }
  const take = (): InputLine | null => {
    const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    const text = start === 0 && whole.subarray(0, 3).equals(byteOrderMark) ? whole.subarray(3) : whole
    const isTooMuch = size > limit || excess !== null
    const line: InputLine = { text: isTooMuch ? null : text, number: ++number, start, end: at }
    if (excess !== null) line.excess = excess
    parts = []
    if (size > 0) scanner = createScanner?.()
    excess = null
    size = 0
    start = at
    return line.text !== null && isBlank(line.text) ? null : line
  }

  for await (const chunk of content) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    let begin = 0
    for (;;) {
      const found = bytes.indexOf(newline, begin)
      if (found === -1) break
      add(bytes.subarray(begin, found))
      at += 1
      begin = found + 1
      const line = take()
      if (line) yield line
    }
    // Copied, so that the chunk can be freed before the rest of the line comes.
    add(Buffer.from(bytes.subarray(begin)))
  }
  const line = size > 0 ? take() : null
  if (line) yield line
}

function isBlank(text: Buffer): boolean {
  for (const byte of text) {
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false
  }
  return true
}
