import { createEventParser, type ParsedEvent } from './event-parser.ts'
import type { OpenAnswer } from './http.ts'

/** How a connection ended: it could not be made, it broke, or the server closed it. */
export type StreamEnd = {
  how: 'unopened' | 'broken' | 'closed'
  /** Why it could not be made, or broke. */
  error: unknown
  /** The latest event of all connections; null before the first. */
  last: ParsedEvent | null
  /** Ends in a row since an event came, this one included. */
  failures: number
}

export type FollowStreamOptions = {
  /**
   * Opens the stream behind the event of this id, from its beginning for ''. The answer 204 means that no event comes
   * behind it. The signal aborts when the connection is closed.
   */
  open(lastEventId: string, signal: AbortSignal): Promise<OpenAnswer>
  /**
   * Whether to connect again, called at every end; resolves when it is time. An error that it throws ends the stream.
   */
  goOn(end: StreamEnd): Promise<boolean>
  /** The `id` of an event that is known already. */
  after?: string | undefined
  /** Ends the stream, which then throws the signal's reason. */
  signal?: AbortSignal | undefined
  /** Called for each connection that the server answered. */
  onOpen?: (() => void) | undefined
}

/** Every event once and in order, over any number of connections; events that came together are in one array. */
export async function* followStream(
  options: FollowStreamOptions,
): AsyncGenerator<ParsedEvent[], void, undefined> {
  const { signal } = options
  let lastEventId = options.after ?? ''
  let last: ParsedEvent | null = null
  let failures = 0
  for (;;) {
    const own = new AbortController()
    let how: StreamEnd['how'] = 'unopened'
    let error: unknown = null
    try {
      const either = signal ? AbortSignal.any([signal, own.signal]) : own.signal
      const answer = await options.open(lastEventId, either)
      if (answer.response.status === 204) return
      how = 'broken'
      options.onOpen?.()
      for await (const events of readEvents(answer, (id) => (lastEventId = id))) {
        failures = 0
        last = events.at(-1)!
        lastEventId = last.id
        yield events
      }
      how = 'closed'
    } catch (thrown) {
      signal?.throwIfAborted()
      error = thrown
    } finally {
      own.abort()
    }
    failures++
    if (!(await options.goOn({ how, error, last, failures }))) return
  }
}

/**
 * The events of one answer, those that came together in one array. Throws when the connection breaks.
 *
 * @param onMark called with an id that came without an event, to go on behind
 */
export async function* readEvents(
  answer: OpenAnswer,
  onMark?: (id: string) => void,
): AsyncGenerator<ParsedEvent[], void, undefined> {
  const parser = createEventParser()
  try {
    for (;;) {
      const bytes = await answer.read()
      if (bytes === null) return
      const events = parser.push(bytes)
      if (events.length > 0) yield events
      else if (parser.lastEventId() !== '') onMark?.(parser.lastEventId())
    }
  } finally {
    answer.close()
  }
}
