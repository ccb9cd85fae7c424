import { StringDecoder } from 'node:string_decoder'
import type { JsonScanner } from '../lib/scan-json.ts'

export type SseParser = {
  /** Feeds bytes as they come; cuts may fall anywhere, inside characters too. */
  push(bytes: Uint8Array): void
  /** The end of the stream. An event without its blank line counts: many servers leave it out at the end. */
  end(): void
}

/** A text this short, in characters, passes no bound of an answer: what opens 256 levels and closes them is longer. */
const UNSCANNED = 512

/**
 * Reads `text/event-stream` (WHATWG HTML §9.2.6) as providers use it: the data of each event, lines joined, and its
 * name. Ids, comments and retry fields are dropped. A line of bare JSON is an event too: so some servers say, in the
 * middle of a stream, what went wrong.
 *
 * @param createScanner makes what looks at the data of an event before it is handed on; what its `push` throws, `push` and `end` throw
 */
export function createSseParser(
  onData: (data: string, name: string | null) => void,
  createScanner?: () => JsonScanner,
): SseParser {
  const lineEnd = /\r\n|\n|\r/g
  const decoder = new StringDecoder('utf8')
  /** The unfinished line; joined once it ends, so that a line over many chunks is not scanned again with each. */
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

  /** @param isLookedAt its pieces were, as they came */
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
    // The second half of a `\r\n` that was cut in two.
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
