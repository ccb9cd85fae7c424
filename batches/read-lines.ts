import type { JsonExcess, JsonScanner } from '../lib/scan-json.ts'

/** A line of an input file that is not blank. */
export type InputLine = {
  /** Null: the line is longer than it may be, or has the `excess`. */
  text: Buffer | null
  excess?: JsonExcess
  /** Its place among all lines of the file, blank ones included, from 1. */
  number: number
  /** Where it begins, in bytes from the beginning of the file. */
  start: number
  /** Where the line after it begins. */
  end: number
}

const newline = 0x0a
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * The lines of a file, cut anywhere into pieces; blank ones are passed over, and the last one needs no line break.
 * Holds no more than one line of up to `limit` bytes.
 *
 * @param from where the content given begins: the beginning of a line
 * @param createScanner makes what looks at each line as it comes
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
    // A copy, so that the chunk need not live until the rest of the line comes.
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
