import { StringDecoder } from 'node:string_decoder'

export type SseParser = {
  /** Feeds bytes as they come; cuts may fall anywhere, inside characters too. */
  push(bytes: Uint8Array): void
  /** The end of the stream. An event without its blank line counts: many servers leave it out at the end. */
  end(): void
}

/**
 * Reads `text/event-stream` (WHATWG HTML §9.2.6) as providers use it: the data of each event, lines joined. Names,
 * ids, comments and retry fields are dropped, for the data of every provider's events says what they are.
 */
export function createSseParser(onData: (data: string) => void): SseParser {
  const lineEnd = /\r\n|\n|\r/g
  const decoder = new StringDecoder('utf8')
  /** The unfinished line; joined once it ends, so that a line over many chunks is not scanned again with each. */
  let pieces: string[] = []
  let data: string | null = null
  let isFirst = true
  let endedInReturn = false

  function dispatch(): void {
    const event = data
    data = null
    if (event !== null) onData(event)
  }

  function takeLine(line: string): void {
    if (line === '') dispatch()
    else if (line.startsWith('data:')) {
      const value = line.charCodeAt(5) === 32 ? line.slice(6) : line.slice(5)
      data = data === null ? value : `${data}\n${value}`
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
      pieces.push(text.slice(start, match.index))
      const line = pieces.length === 1 ? pieces[0]! : pieces.join('')
      pieces = []
      start = match.index + match[0].length
      takeLine(line)
    }
    endedInReturn = text.charCodeAt(text.length - 1) === 13
    if (start < text.length) pieces.push(text.slice(start))
  }

  return {
    push: (bytes) => takeText(decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))),
    end() {
      takeText(decoder.end())
      if (pieces.length > 0) takeLine(pieces.join(''))
      pieces = []
      dispatch()
    },
  }
}
