import type { SluiceEvent } from './events.ts'

/** Events that may wait for their reader before the client asks for no more. */
const MOST_WAITING = 1000

/** The queue between a socket and a reader of its events. */
export type Subscription = {
  /** The cursor after all events that came. */
  readonly cursor: string | undefined
  /** Whether more events are wanted now: the reader has taken the earlier ones. */
  wantsMore(): boolean
  /** False: enough events wait, so no more should come for now. */
  push(event: SluiceEvent): boolean
  mark(cursor: string): void
  /** Ends it: no more events come, or `error` is the reason. */
  end(error?: unknown): void
  /** The next event; null at the end. Throws the error of the end, and the signal's reason. */
  next(): Promise<SluiceEvent | null>
}

/**
 * @param after the cursor to begin behind
 * @param onDrained called when the reader has taken all that waited
 */
export function createSubscription(
  after: string | undefined,
  signal: AbortSignal | undefined,
  onDrained: () => void,
): Subscription {
  const waiting: SluiceEvent[] = []
  let cursor = after
  let ending: { error?: unknown } | null = null
  let wake = () => {}
  signal?.addEventListener('abort', () => wake(), { once: true })

  return {
    get cursor() {
      return cursor
    },
    wantsMore: () => waiting.length === 0 && ending === null,
    push(event) {
      waiting.push(event)
      cursor = event.id
      wake()
      return waiting.length < MOST_WAITING
    },
    mark(to) {
      cursor = to
    },
    end(error) {
      ending ??= error === undefined ? {} : { error }
      wake()
    },
    async next() {
      for (;;) {
        signal?.throwIfAborted()
        const event = waiting.shift()
        if (event !== undefined) return event
        if (ending !== null) {
          if ('error' in ending) throw ending.error
          return null
        }
        onDrained()
        if (waiting.length === 0 && ending === null) await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}
