import type { SluiceEvent } from './events.ts'

/** Events that may wait for their reader before no more are asked for. */
const MOST_WAITING = 1000

/** What a reader of a socket's events waits with. */
export type Subscription = {
  /** Where to go on from, of all that came. */
  readonly cursor: string | undefined
  /** Whether events are wanted now: the reader has taken what came before. */
  wantsMore(): boolean
  /** False: more than enough wait, so no more are to come for now. */
  push(event: SluiceEvent): boolean
  mark(cursor: string): void
  /** Nothing comes any more, or this is why. */
  end(error?: unknown): void
  /** The next event; null at the end. Throws what it ended with, and the signal's reason. */
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
