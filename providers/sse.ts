import { StringDecoder } from 'node:string_decoder'
import type { JsonScanner } from '../lib/scan-json.ts'

export type SseParser = {
  /** Takes bytes as they arrive. Chunks may end anywhere, also inside a character. */
  push(bytes: Uint8Array): void
  /** Ends the stream. A last event without its blank line counts: many servers omit it. */
  end(): void
}

/** A shorter text, in characters, cannot exceed a bound: 256 levels of brackets are longer. */
const UNSCANNED = 512

/**
 * Parses `text/event-stream` (WHATWG HTML §9.2.6) as providers use it: the data of each event, with its lines joined, and its name. Ids,
 * comments and retry fields are dropped. A line of bare JSON counts as an event too: some servers report an error that way in the middle of
 * a stream.
 *
 * @param createScanner makes the scanner for an event's data, before the event is handed on; `push` and `end` throw what the scanner throws
 */
export function createSseParser(
  onData: (data: string, name: string | null) => void,
  createScanner?: () => JsonScanner,
): SseParser {
  const lineEnd = /\r\n|\n|\r/g
  const decoder = new StringDecoder('utf8')
  /** The unfinished line. It is joined once it ends, so that a long line is not scanned again with each chunk. */
  let pieces: string[] = []
  let data: string | null = null
  let name: string | null = null
  let isFirst = true
  let endedInReturn = false
  let scanner: JsonScanner | null = null

  function look(text: string): void {
    if (createScanner === undefined) return
    scanner ??= createScanner()
    scanner.push(Buffer.from(text))
  }

  function dispatch(): void {
    const [event, itsName] = [data, name]
    data = null
    name = null
    scanner = null
    if (event !== null) onData(event, itsName)
  }

  /** @param isLookedAt true when its pieces were scanned as they came */
  function takeLine(line: string, isLookedAt: boolean): void {
    if (line === '') dispatch()
    else if (line.startsWith('data:')) {
      const value = line.charCodeAt(5) === 32 ? line.slice(6) : line.slice(5)
      if (data !== null && scanner === null) look(data)
      if (!isLookedAt && (value.length > UNSCANNED || scanner !== null)) look(value)
      data = data === null ? value : `${data}\n${value}`
    } else if (line.startsWith('event:')) name = line.slice(6).trim()
    else if (line.startsWith('{"') && data === null) {
      if (!isLookedAt) look(line)
      data = line
      dispatch()
    }
  }

  function takeText(text: string): void {
    if (text === '') return
    let start = 0
    if (isFirst && text.charCodeAt(0) === 0xfeff) start = 1
    // The second half of a `\r\n` that was split between two chunks.
    if (endedInReturn && text.charCodeAt(0) === 10) start = 1
    isFirst = false
    lineEnd.lastIndex = start
    for (let match = lineEnd.exec(text); match; match = lineEnd.exec(text)) {
      const last = text.slice(start, match.index)
      const isLong = pieces.length > 0
      if (isLong) look(last)
      const line = isLong ? pieces.join('') + last : last
      pieces = []
      start = match.index + match[0].length
      takeLine(line, isLong)
    }
    endedInReturn = text.charCodeAt(text.length - 1) === 13
    if (start === text.length) return
    const piece = text.slice(start)
    pieces.push(piece)
    look(piece)
  }

  return {
    push: (bytes) => takeText(decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))),
    end() {
      takeText(decoder.end())
      if (pieces.length > 0) takeLine(pieces.join(''), true)
      pieces = []
      dispatch()
    },
  }
}
