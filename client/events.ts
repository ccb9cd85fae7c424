import { SluiceError } from './errors.ts'
import type { ParsedEvent } from './event-parser.ts'
import { followStream } from './follow-stream.ts'
import type { Http } from './http.ts'
import type { Job, JobEvent } from './openapi.ts'
import type { sleep } from './sleep.ts'

/** Whose events: a job's by its id, or those of every job of a group. */
export type EventTarget = string | { group: string }

/** What happened to a job. `id` is what to give as `after` to go on behind it, in another process too. */
export type SluiceEvent = { id: string } & (
  | { type: 'job.queued'; data: JobEvent }
  | { type: 'job.started'; data: JobEvent & { attempt: number } }
  /** One chunk of the provider's stream, for jobs whose body has `stream: true`. */
  | { type: 'job.delta'; data: JobEvent & { attempt: number; chunk: Record<string, unknown> } }
  /** What attempts before it had streamed is void. */
  | { type: 'job.retrying'; data: JobEvent & { reason: string; next_attempt_at: string } }
  | { type: 'job.completed' | 'job.failed' | 'job.cancelled'; data: JobEvent & { job: Job } }
)

export type EventsOptions = {
  /** The `id` of the last event that is known already; only later ones come. Without it all, from the first. */
  after?: string
  /** Ends the iteration, which then throws its reason. */
  signal?: AbortSignal
}

/**
 * Every event once and in order, over connections that break and servers that restart. Ends after the last event there can
 * be: of a job that has ended, or of a group without open jobs.
 */
export async function* followEvents(
  { http, sleep: pause }: { http: Http; sleep: typeof sleep },
  target: EventTarget,
  { after, signal }: EventsOptions = {},
): AsyncGenerator<SluiceEvent, void, undefined> {
  const path =
    typeof target === 'string'
      ? `/v1/jobs/${encodeURIComponent(target)}/events`
      : `/v1/groups/${encodeURIComponent(target.group)}/events`
  let hasEnded = false
  const batches = followStream({
    open: (lastEventId, either) =>
      http.open('GET', path, { headers: toHeaders(lastEventId), signal: either }),
    async goOn({ how, error, failures }) {
      if (how === 'unopened') throw error
      // Most likely that was all; the next answer says so.
      if (hasEnded && failures === 1) return true
      // Where streams end without a word, the next is asked for ever later, but always asked for: a job may wait for long.
      await pause(http.backOff(failures), signal)
      return true
    },
    after,
    signal,
  })
  for await (const events of batches) {
    for (const event of events) {
      const parsed = toSluiceEvent(event)
      hasEnded = 'job' in parsed.data
      yield parsed
    }
  }
}

/** What an event stream is asked for with. */
export function toHeaders(lastEventId: string): Record<string, string> {
  return { accept: 'text/event-stream', ...(lastEventId !== '' && { 'last-event-id': lastEventId }) }
}

function toSluiceEvent({ id, type, data }: ParsedEvent): SluiceEvent {
  try {
    return { id, type, data: JSON.parse(data) } as SluiceEvent
  } catch {
    const message = `the event ${id || type} has no JSON`
    throw new SluiceError({ status: 200, code: 'invalid_answer', message })
  }
}
