import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { withUnparsedResult } from '../jobs/job-result.ts'
import { stringifyLine } from '../lib/json-source.ts'

/** How long a client waits before it reconnects, ms. */
const retryAfter = 1000

/** Texts of this many characters or more take some milliseconds to copy. */
const LARGE_TEXT = 1024 * 1024

/** A comment that keeps proxies and clients from giving up. */
export const COMMENT = ': keep-alive\n'

/** An event of any stream. `cursor` is the value for `Last-Event-ID`. */
export type SseEvent = { cursor: string; event: string; data: object }

/**
 * Sends a client only a cursor: an event without data is ignored, but its id counts (WHATWG HTML). For streams whose filter may let nothing
 * through for so long that the last event's cursor expires.
 */
export function formatCursorMark(cursor: string): string {
  return `id: ${cursor}\n\n`
}

/** Formats one event (WHATWG HTML, server-sent events). Its JSON is one line, so one `data` line holds it. */
export function formatEvent({ cursor, event, data }: SseEvent): string {
  const shown = 'job' in data ? { ...data, job: withUnparsedResult(data.job) } : data
  return `id: ${cursor}\nevent: ${event}\ndata: ${stringifyLine(shown)}\n\n`
}

/** Answers with the text of an event stream while it arrives. */
export function sendEventStream(reply: FastifyReply, text: AsyncIterable<string>): FastifyReply {
  return (
    reply
      .type('text/event-stream; charset=utf-8')
      // Keeps nginx from buffering the answer.
      .headers({ 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' })
      .send(Readable.from(text, { objectMode: false }))
  )
}

/**
 * The text of an event stream; see `fillSilences`. Neither `retry` nor a comment is followed by a blank line: that would end an event
 * without data, which some clients pass to their application.
 */
export async function* encodeEvents(
  events: AsyncIterable<SseEvent>,
  options: FillOptions,
): AsyncGenerator<string> {
  yield `retry: ${retryAfter}\n`
  yield* fillSilences(events, formatEvent, options)
}

export type FillOptions = {
  heartbeat: number
  signal: AbortSignal
  /** What to send during a silence, instead of a comment. */
  fill?: () => string
}

/**
 * The texts of a source. It requests an item only when the previous one was consumed, so a slow reader holds back the source. A silence
 * longer than `heartbeat` ms is filled with a comment. Ends with the source or the signal.
 */
export async function* fillSilences<Item>(
  source: AsyncIterable<Item>,
  format: (item: Item) => string,
  options: FillOptions,
): AsyncGenerator<string> {
  const iterator = source[Symbol.asyncIterator]()
  try {
    let next = iterator.next()
    while (!options.signal.aborted) {
      const result = await waitFor(next, options)
      if (result === 'silence') {
        yield options.fill?.() ?? COMMENT
        continue
      }
      if (result === 'aborted' || result.done === true) return
      const text = format(result.value)
      // Consumers copy a large text, so they get it in another turn of the event loop.
      if (text.length >= LARGE_TEXT) await nextTurn()
      yield text
      next = iterator.next()
    }
  } finally {
    // Not awaited: a source in the middle of a read ends when the signal ends that read.
    iterator.return?.().catch(() => undefined)
  }
}

/** The first of: the next item, a silence of `heartbeat` ms, the abort. */
function waitFor<T>(
  next: Promise<T>,
  { heartbeat, signal }: { heartbeat: number; signal: AbortSignal },
): Promise<T | 'silence' | 'aborted'> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish('silence'), heartbeat)
    const onAbort = () => finish('aborted')
    function stop() {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    function finish(result: T | 'silence' | 'aborted') {
      stop()
      resolve(result)
    }
    signal.addEventListener('abort', onAbort)
    next.then(finish, (error) => {
      stop()
      reject(error)
    })
  })
}
