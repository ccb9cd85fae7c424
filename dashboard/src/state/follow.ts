import type { ParsedEvent } from '../../../client/event-parser.ts'
import { followStream, type StreamEnd } from '../../../client/follow-stream.ts'
import type { OpenAnswer } from '../../../client/http.ts'
import { ApiFailure, explain } from '../api.ts'

/** The state of a followed stream. */
export type FollowState =
  | { kind: 'connecting' }
  | { kind: 'live' }
  /** The next try is at `retryAt`, Unix ms. */
  | { kind: 'lost'; retryAt: number; reason: string }
  /** The last event has come; there will be no more. */
  | { kind: 'ended' }
  /** Another try would not help: the key is refused, or the object is gone. */
  | { kind: 'refused'; status: number; message: string }

export type Following = {
  stop(): void
  /** Tries again now if it waits for its next try. */
  hurry(): void
}

export type FollowDeps = {
  open(lastEventId: string, signal: AbortSignal): Promise<OpenAnswer>
  onEvents(events: ParsedEvent[]): void
  onState(state: FollowState): void
  /** True for an event after which the server closes the stream for good, unless another follows. */
  isLast?(event: ParsedEvent): boolean
  /** Unix ms. */
  now(): number
  /** 0 to 1. */
  random(): number
  /** The first and the longest wait between tries, ms. */
  waits?: { first: number; most: number }
}

/** Follows an event stream. After a lost connection it resumes behind the last event, and reports its state. */
export function follow(deps: FollowDeps): Following {
  const { first, most } = deps.waits ?? { first: 500, most: 15_000 }
  const stopping = new AbortController()
  let wakeUp = () => {}

  async function goOn({ how, error, last, failures }: StreamEnd): Promise<boolean> {
    if (how === 'closed' && last !== null && deps.isLast?.(last)) return false
    if (error instanceof ApiFailure && isFinal(error.status)) throw error
    const reason = error instanceof ApiFailure ? error.message : 'The connection broke.'
    const wait = Math.min(most, first * 2 ** (failures - 1)) * (0.5 + deps.random() / 2)
    deps.onState({ kind: 'lost', retryAt: deps.now() + wait, reason })
    await new Promise<void>((resolve) => {
      wakeUp = resolve
      setTimeout(resolve, wait)
    })
    return !stopping.signal.aborted
  }

  async function run(): Promise<void> {
    deps.onState({ kind: 'connecting' })
    const batches = followStream({
      open: deps.open,
      goOn,
      signal: stopping.signal,
      onOpen: () => deps.onState({ kind: 'live' }),
    })
    try {
      for await (const events of batches) deps.onEvents(events)
      if (!stopping.signal.aborted) deps.onState({ kind: 'ended' })
    } catch (error) {
      if (stopping.signal.aborted) return
      const status = error instanceof ApiFailure ? error.status : 0
      deps.onState({ kind: 'refused', status, message: explain(error) })
    }
  }
  run()

  return {
    stop() {
      stopping.abort()
      wakeUp()
    },
    hurry: () => wakeUp(),
  }
}

/** Whether a retry would get the same answer: true for all 4xx except 408 and 429. */
function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}
