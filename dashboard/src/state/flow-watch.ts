import { batch, type ReadonlySignal, signal } from '@preact/signals'
import { type Api, ApiFailure } from '../api.ts'
import type { Flow } from '../wire.ts'
import { type FollowState, follow } from './follow.ts'

/** A flow while it runs. */
export type FlowWatch = {
  flow: ReadonlySignal<Flow | null>
  connection: ReadonlySignal<FollowState>
  failure: ReadonlySignal<ApiFailure | null>
  /** Reads it again now, for example after a retry. */
  refresh(): void
  stop(): void
}

/** The shortest time between the starts of two reads, ms: a flow may have thousands of jobs, and the end of each is an event. */
const READ_EVERY_MS = 500
/** The wait after a read that the server could not answer, ms. */
const READ_AGAIN_MS = 2_000
/** The server sends a comment every 15 s on a silent stream. */
const SILENCE_MS = 40_000

/** Follows the events of a flow and its jobs, and reads the flow again when one comes. */
export function watchFlow(deps: {
  api: Api
  id: string
  tenant: string
  now(): number
  random(): number
}): FlowWatch {
  const { api, id, tenant } = deps
  const flow = signal<Flow | null>(null)
  const connection = signal<FollowState>({ kind: 'connecting' })
  const failure = signal<ApiFailure | null>(null)
  const stopped = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  let isReading = false
  let isOutdated = false

  async function read(): Promise<void> {
    let wait = READ_EVERY_MS
    isReading = true
    isOutdated = false
    try {
      const options = { tenant, signal: stopped.signal }
      const found = await api.json<Flow>(`/v1/flows/${encodeURIComponent(id)}`, options)
      batch(() => {
        flow.value = found
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
    timer = setTimeout(() => {
      isReading = false
      if (isOutdated) read()
    }, wait)
  }

  function refresh(): void {
    isOutdated = true
    if (!isReading) read()
  }

  refresh()
  const following = follow({
    open: (lastEventId, signal) =>
      api.open(`/v1/events?flow=${encodeURIComponent(id)}`, {
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
    flow,
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
