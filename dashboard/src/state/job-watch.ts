import { batch, type ReadonlySignal, signal } from '@preact/signals'
import type { ParsedEvent } from '../../../client/event-parser.ts'
import { readChunkText } from '../answer-text.ts'
import { type Api, ApiFailure } from '../api.ts'
import type { Attempt, Delivery, Job, List } from '../wire.ts'
import { type FollowState, follow } from './follow.ts'

/** A job while it runs. */
export type JobWatch = {
  job: ReadonlySignal<Job | null>
  attempts: ReadonlySignal<Attempt[]>
  deliveries: ReadonlySignal<Delivery[]>
  /** The text that the call with the number `attempt` has streamed. */
  streamed: ReadonlySignal<{ attempt: number; text: string }>
  connection: ReadonlySignal<FollowState>
  failure: ReadonlySignal<ApiFailure | null>
  /** Reads everything again and follows again, for example after a retry. */
  restart(): void
  stop(): void
}

type EventData = { attempt?: number; chunk?: unknown }

const terminal = ['job.completed', 'job.failed', 'job.cancelled']

/** The server sends a comment every 15 s on a silent stream. */
const SILENCE_MS = 40_000
/** The shortest time between the starts of two reads of a job, ms. */
const READ_EVERY_MS = 300
/** The wait after a read that the server could not answer, ms. */
const READ_AGAIN_MS = 2_000

export function watchJob(deps: {
  api: Api
  id: string
  tenant: string | null
  now(): number
  random(): number
}): JobWatch {
  const { api, id, tenant } = deps
  const path = `/v1/jobs/${encodeURIComponent(id)}`
  const job = signal<Job | null>(null)
  const attempts = signal<Attempt[]>([])
  const deliveries = signal<Delivery[]>([])
  const streamed = signal({ attempt: 0, text: '' })
  const connection = signal<FollowState>({ kind: 'connecting' })
  const failure = signal<ApiFailure | null>(null)
  let stopped = new AbortController()
  let stopFollowing = () => {}
  let timer: ReturnType<typeof setTimeout> | undefined
  let again: ReturnType<typeof setTimeout> | undefined
  let isOutdated = false
  let asked = 0
  let shown = 0

  async function read(): Promise<void> {
    const options = { tenant, signal: stopped.signal }
    const number = ++asked
    try {
      const [nextJob, nextAttempts, nextDeliveries] = await Promise.all([
        api.json<Job>(path, options),
        api.json<List<Attempt>>(`${path}/attempts`, options),
        api.json<List<Delivery>>(`${path}/deliveries`, options),
      ])
      // A slow answer must not replace a later one.
      if (number < shown) return
      shown = number
      batch(() => {
        job.value = nextJob
        attempts.value = nextAttempts.data
        deliveries.value = nextDeliveries.data
        failure.value = null
      })
    } catch (error) {
      if (options.signal.aborted || !(error instanceof ApiFailure) || number < shown) return
      failure.value = error
      // It must retry by itself: there may be no further event that would cause a read.
      if (error.status !== 0 && error.status < 500) return
      clearTimeout(again)
      again = setTimeout(readSoon, READ_AGAIN_MS)
    }
  }

  /** Reads now, or once READ_EVERY_MS have passed since the last read. */
  function readSoon(): void {
    isOutdated = true
    if (timer !== undefined) return
    isOutdated = false
    read()
    timer = setTimeout(() => {
      timer = undefined
      if (isOutdated && !stopped.signal.aborted) readSoon()
    }, READ_EVERY_MS)
  }

  function onEvents(events: ParsedEvent[]): void {
    let { attempt, text } = streamed.value
    let isNews = false
    for (const { type: event, data } of events) {
      const parsed = JSON.parse(data) as EventData
      if (event === 'job.delta') {
        // Chunks of an earlier call that failed do not count.
        if (parsed.attempt !== undefined && parsed.attempt !== attempt) {
          attempt = parsed.attempt
          text = ''
        }
        text += readChunkText(parsed.chunk)
      } else {
        isNews = true
        if (event === 'job.retrying') text = ''
      }
    }
    streamed.value = { attempt, text }
    if (isNews) readSoon()
  }

  function start(): void {
    stopped = new AbortController()
    readSoon()
    const following = follow({
      open: (lastEventId, signal) =>
        api.open(`${path}/events`, { tenant, lastEventId, signal, silenceMs: SILENCE_MS }),
      onEvents,
      onState: (state) => {
        connection.value = state
        if (state.kind === 'ended') readSoon()
      },
      isLast: ({ type }) => terminal.includes(type),
      now: deps.now,
      random: deps.random,
    })
    stopFollowing = following.stop
  }

  function stop(): void {
    stopped.abort()
    stopFollowing()
    clearTimeout(timer)
    clearTimeout(again)
    timer = undefined
  }

  start()
  return {
    job,
    attempts,
    deliveries,
    streamed,
    connection,
    failure,
    stop,
    restart() {
      stop()
      streamed.value = { attempt: 0, text: '' }
      start()
    },
  }
}
