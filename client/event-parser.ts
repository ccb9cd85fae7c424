/** One event of an event stream; `id` is the last one that the stream has named, '' before the first. */
export type ParsedEvent = { id: string; type: string; data: string }

/**
 * Reads an event stream (WHATWG HTML, server-sent events) that may be cut anywhere, in the middle of characters too.
 */
export type EventParser = {
  /** The events that these bytes complete. An incomplete event at the end of the stream is dropped. */
  push(bytes: Uint8Array): ParsedEvent[]
  /** The id after which to go on: that of the last complete block, which may have had no event. */
  lastEventId(): string
}

export function createEventParser(): EventParser {
  const decoder = new TextDecoder()
  /**
   * The unfinished line; its pieces are joined once it ends, so that a line over many chunks is not searched again
   * with each.
   */
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
      // The second half of a line end that was cut in two.
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
