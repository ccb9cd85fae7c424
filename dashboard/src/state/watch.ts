import { batch, type ReadonlySignal, signal } from '@preact/signals'
import { type Api, ApiFailure } from '../api.ts'
import { type FollowState, follow } from './follow.ts'
import { toQuery } from './query.ts'

/** The answer of a path, kept up to date. */
export type Watch<Body> = {
  /** Null until the first answer. */
  body: ReadonlySignal<Body | null>
  connection: ReadonlySignal<FollowState>
  failure: ReadonlySignal<ApiFailure | null>
  /** Reads it again now, for example after a retry. */
  refresh(): void
  stop(): void
}

/** The shortest wait between two reads, ms: thousands of jobs may end meanwhile, and the end of each is an event. */
const READ_EVERY_MS = 500
/** The wait after a read, as a multiple of its duration, and at most: a long answer is read less often. */
const PAUSE_SHARE = 4
const MOST_PAUSE_MS = 10_000
/** The wait after a read that the server could not answer, ms. */
const READ_AGAIN_MS = 2_000
/** The server sends a comment every 15 s on a silent stream. */
const SILENCE_MS = 40_000

/**
 * Follows events, and reads a path again when one comes.
 *
 * @param deps.path the path to read
 * @param deps.events the parameters of `GET /v1/events`
 * @param deps.everyMs the longest time without a read, for objects that also change without an event; null: events alone cause reads
 */
export function watch<Body>(deps: {
  api: Api
  path: string
  events: Record<string, string>
  tenant: string
  everyMs: number | null
  /** Whether the page is in a hidden tab. */
  isHidden(): boolean
  now(): number
  random(): number
}): Watch<Body> {
  const { api, path, events, tenant, everyMs } = deps
  const body = signal<Body | null>(null)
  const connection = signal<FollowState>({ kind: 'connecting' })
  const failure = signal<ApiFailure | null>(null)
  const stopped = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  let isReading = false
  let isOutdated = false

  async function read(): Promise<void> {
    const start = performance.now()
    let wait = 0
    isReading = true
    isOutdated = false
    clearTimeout(timer)
    try {
      const found = await api.json<Body>(path, { tenant, signal: stopped.signal })
      batch(() => {
        body.value = found
        failure.value = null
      })
    } catch (error) {
      if (stopped.signal.aborted || !(error instanceof ApiFailure)) return
      failure.value = error
      // It must retry by itself: there may be no further event that would cause a read.
      if (error.status === 0 || error.status >= 500) {
        isOutdated = true
        wait = READ_AGAIN_MS
      }
    }
    if (stopped.signal.aborted) return
    const took = performance.now() - start
    const pause = Math.max(wait, READ_EVERY_MS, Math.min(MOST_PAUSE_MS, PAUSE_SHARE * took))
    timer = setTimeout(() => {
      isReading = false
      if (isOutdated) read()
      else if (everyMs !== null) timer = setTimeout(look, Math.max(0, everyMs - pause))
    }, pause)
  }

  /** Skips a deleted object, which comes back only with an event, and waits while the tab is hidden. */
  function look(): void {
    if (deps.isHidden()) timer = setTimeout(look, everyMs!)
    else if (failure.value?.status !== 404) refresh()
  }

  function refresh(): void {
    isOutdated = true
    if (!isReading) read()
  }

  refresh()
  const following = follow({
    open: (lastEventId, signal) =>
      api.open(`/v1/events${toQuery(events)}`, {
        tenant,
        lastEventId: lastEventId || 'now',
        signal,
        silenceMs: SILENCE_MS,
      }),
    onEvents: refresh,
    onState(state) {
      connection.value = state
      // Reads what happened before the stream was open.
      if (state.kind === 'live') refresh()
    },
    now: deps.now,
    random: deps.random,
  })

  return {
    body,
    connection,
    failure,
    refresh,
    stop() {
      stopped.abort()
      following.stop()
      clearTimeout(timer)
    },
  }
}
