import { createEventParser, type ParsedEvent } from '../../client/event-parser.ts'

/** An event as it came, with its data parsed. */
export type ReadEvent = Omit<ParsedEvent, 'data'> & {
  data: { job_id: string; seq: number; [member: string]: unknown }
}

/** An event stream that a test reads event by event. */
export type ReadStream = {
  response: Response
  /** The next event; null when the stream has ended. */
  next(): Promise<ReadEvent | null>
  /** The next `count` events. */
  take(count: number): Promise<ReadEvent[]>
  /** Events up to and with the first one for which `isLast` is true. */
  until(isLast: (event: ReadEvent) => boolean): Promise<ReadEvent[]>
  /** All that came, as text. */
  text(): string
  close(): void
}

export async function readStream(
  url: string,
  { cursor, headers = {} }: { cursor?: string; headers?: Record<string, string> } = {},
): Promise<ReadStream> {
  const leaving = new AbortController()
  const response = await fetch(url, {
    headers: { ...headers, ...(cursor === undefined ? {} : { 'last-event-id': cursor }) },
    signal: leaving.signal,
  })
  // The test reads the body of an error itself.
  const reader = response.ok ? response.body?.getReader() : undefined
  const parser = createEventParser()
  const waiting: ParsedEvent[] = []
  const decoder = new TextDecoder()
  let text = ''

  async function next(): Promise<ReadEvent | null> {
    while (waiting.length === 0) {
      const { value } = (await reader?.read()) ?? {}
      if (value === undefined) return null
      text += decoder.decode(value, { stream: true })
      waiting.push(...parser.push(value))
    }
    const { data, ...event } = waiting.shift()!
    return { ...event, data: JSON.parse(data) }
  }

  async function until(isLast: (event: ReadEvent, count: number) => boolean): Promise<ReadEvent[]> {
    const events: ReadEvent[] = []
    for (;;) {
      const event = await next()
      if (event === null)
        throw new Error(`the stream ended after ${events.length} events: ${text.slice(-200)}`)
      events.push(event)
      if (isLast(event, events.length)) return events
    }
  }

  return {
    response,
    next,
    take: (count) => until((_, found) => found === count),
    until: (isLast) => until(isLast),
    text: () => text,
    close: () => leaving.abort(),
  }
}
