/** One event of an event stream; `id` is the last one named, '' before the first. */
export type ParsedEvent = { id: string; type: string; data: string }

/** Reads an event stream (WHATWG HTML, server-sent events) that is cut anywhere, in the middle of characters too. */
export type EventParser = {
  /** The events that are complete with these bytes. What a stream leaves half said at its end is void. */
  push(bytes: Uint8Array): ParsedEvent[]
}

export function createEventParser(): EventParser {
  const decoder = new TextDecoder()
  let rest = ''
  let id = ''
  let type = ''
  let data: string[] = []

  function readField(line: string): void {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'data') data.push(value)
    else if (name === 'event') type = value
    else if (name === 'id' && !value.includes('\0')) id = value
  }

  return {
    push(bytes) {
      const text = rest + decoder.decode(bytes, { stream: true })
      // A return at the very end may be the first half of a line's end.
      const lines = text.split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop() ?? ''
      const events: ParsedEvent[] = []
      for (const line of lines) {
        if (line !== '') {
          readField(line)
          continue
        }
        if (data.length > 0) events.push({ id, type: type || 'message', data: data.join('\n') })
        type = ''
        data = []
      }
      return events
    },
  }
}
