/** One event of an event stream; `id` is the last one named, '' before the first. */
export type ParsedEvent = { id: string; type: string; data: string }

/** Reads an event stream (WHATWG HTML, server-sent events) that is cut anywhere, in the middle of characters too. */
export type EventParser = {
  /** The events that are complete with these bytes. What a stream leaves half said at its end is void. */
  push(bytes: Uint8Array): ParsedEvent[]
  /** The id to go on behind: that of the last block that is complete, which may have had no event. */
  lastEventId(): string
}

export function createEventParser(): EventParser {
  const decoder = new TextDecoder()
  /** The unfinished line; joined once it ends, so that a line over many chunks is not looked through again with each. */
  let pieces: string[] = []
  let endedInReturn = false
  let id = ''
  let lastEventId = ''
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
      let text = decoder.decode(bytes, { stream: true })
      if (text === '') return []
      // The second half of a line's end that was cut in two.
      if (endedInReturn && text.startsWith('\n')) text = text.slice(1)
      endedInReturn = text.endsWith('\r')
      const lines = text.split(/\r\n|\n|\r/)
      pieces.push(lines[0]!)
      if (lines.length === 1) return []
      lines[0] = pieces.join('')
      pieces = [lines.pop()!]
      const events: ParsedEvent[] = []
      for (const line of lines) {
        if (line !== '') {
          readField(line)
          continue
        }
        if (data.length > 0) events.push({ id, type: type || 'message', data: data.join('\n') })
        type = ''
        data = []
        lastEventId = id
      }
      return events
    },
    lastEventId: () => lastEventId,
  }
}
