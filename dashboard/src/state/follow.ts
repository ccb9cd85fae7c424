import { ApiFailure } from '../api.ts'
import { readEvents, type ServerEvent } from '../sse.ts'

export type FollowState =
  | { kind: 'connecting' }
  | { kind: 'live' }
  /** Tried again at `retryAt`, Unix ms. */
  | { kind: 'lost'; retryAt: number; reason: string }
  /** Every event there will be has come. */
  | { kind: 'ended' }
  /** Trying again would not help: the key, or what is followed is gone. */
  | { kind: 'refused'; status: number; message: string }

export type Following = {
  stop(): void
  /** Tries again now where it waits to. */
  hurry(): void
}

export type FollowDeps = {
  open(lastEventId: string, signal: AbortSignal): Promise<Response>
  onEvents(events: ServerEvent[]): void
  onState(state: FollowState): void
  /** True for an event after which the server closes the stream for good, unless another follows. */
  isLast?(event: ServerEvent): boolean
  /** A connection that says nothing for so long is taken for dead, ms. */
  silenceMs: number
  /** Unix ms. */
  now(): number
  /** 0 to 1. */
  random(): number
  /** The waits between tries, ms, unless another is wanted. */
  waits?: { first: number; most: number }
}

/** Follows an event stream over breaks of the connection, from where it broke off. */
export function follow(deps: FollowDeps): Following {
  const { first, most } = deps.waits ?? { first: 500, most: 15_000 }
  const stopping = new AbortController()
  let wakeUp = () => {}
  let lastEventId = ''
  let failures = 0
  let isOver = false

  /** True: the stream has ended for good. */
  async function connect(): Promise<boolean> {
    const attempt = new AbortController()
    const give = () => attempt.abort()
    stopping.signal.addEventListener('abort', give)
    let timer = setTimeout(give, deps.silenceMs)
    try {
      const response = await deps.open(lastEventId, attempt.signal)
      if (response.status === 204 || response.body === null) return true
      deps.onState({ kind: 'live' })
      for await (const events of readEvents(response.body)) {
        clearTimeout(timer)
        timer = setTimeout(give, deps.silenceMs)
        if (stopping.signal.aborted) return true
        if (events.length === 0) continue
        failures = 0
        lastEventId = events.at(-1)!.id
        isOver = deps.isLast?.(events.at(-1)!) ?? false
        deps.onEvents(events)
      }
      return isOver
    } finally {
      clearTimeout(timer)
      stopping.signal.removeEventListener('abort', give)
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let reason = 'The connection broke.'
      try {
        if (failures === 0) deps.onState({ kind: 'connecting' })
        if (await connect()) return stopping.signal.aborted ? undefined : deps.onState({ kind: 'ended' })
      } catch (error) {
        if (stopping.signal.aborted) return
        if (error instanceof ApiFailure) {
          if (isFinal(error.status)) {
            return deps.onState({ kind: 'refused', status: error.status, message: error.message })
          }
          reason = error.message
        }
      }
      failures++
      const wait = Math.min(most, first * 2 ** (failures - 1)) * (0.5 + deps.random() / 2)
      deps.onState({ kind: 'lost', retryAt: deps.now() + wait, reason })
      await new Promise<void>((resolve) => {
        wakeUp = resolve
        setTimeout(resolve, wait)
      })
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

/** The statuses that say the same the next time: all 4xx but time-outs and limits. */
function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}
