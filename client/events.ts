import { SluiceError } from './errors.ts'
import type { ParsedEvent } from './event-parser.ts'
import { followStream } from './follow-stream.ts'
import type { Http } from './http.ts'
import type { Job, JobEvent } from './openapi.ts'
import type { sleep } from './sleep.ts'

/** A job by its id, or all jobs of a group. */
export type EventTarget = string | { group: string }

/** Every event of the tenant, or those that the other members select. */
export type AllEvents = {
  all: true
  /**
   * Of jobs of this type, this group, or this lane (`provider/model`, where the job is now); of this flow and its
   * jobs; of the jobs of this durable run.
   */
  type?: Job['type']
  group?: string
  lane?: string
  flow?: string
  durable?: string
  /** Events of these names. */
  event?: string | readonly string[]
  /** With the chunks of streams. */
  deltas?: boolean
}

/** What happened to a flow, or to a step of one. */
export type FlowEvent = {
  id: string
  type: `flow.${string}` | `step.${string}`
  data: { flow_id: string; seq: number; at: string; [member: string]: unknown }
}

/** A budget that reached 80 % or its end. Times are RFC 3339. */
export type BudgetEvent = {
  id: string
  type: 'budget.warning' | 'budget.exhausted'
  data: {
    id: string
    at: string
    budget: {
      owner: 'tenant' | 'key' | 'fair_key' | 'group' | 'flow'
      name: string | null
      usd: number
      per: 'day' | 'week' | 'month' | 'total'
      time_zone: string
      window_start: string | null
      window_end: string | null
    }
    spent_usd: number
    reserved_usd: number
  }
}

/** What happened to a job. Pass `id` as `after` to go on behind it, in another process too. */
export type SluiceEvent = { id: string } & (
  | { type: 'job.queued'; data: JobEvent }
  | { type: 'job.started'; data: JobEvent & { attempt: number } }
  /** One chunk of the provider's stream, for jobs whose body has `stream: true`. */
  | { type: 'job.delta'; data: JobEvent & { attempt: number; chunk: Record<string, unknown> } }
  /** Drop what earlier attempts have streamed. */
  | { type: 'job.retrying'; data: JobEvent & { reason: string; next_attempt_at: string } }
  | { type: 'job.completed' | 'job.failed' | 'job.cancelled'; data: JobEvent & { job: Job } }
)

const NOW = 'now'

export type EventsOptions = {
  /**
   * The `id` of the last known event; only later ones come. Without it all events come, or for `{ all: true }` all
   * that are kept; there `now` begins with the next event. Throws `events_expired` if the event is too old.
   */
  after?: string
  /** Ends the iteration, which then throws its reason. */
  signal?: AbortSignal
}

/**
 * Every event once and in order, over connections that break and servers that restart. Ends after the last possible
 * event: of a job that has ended, or of a group without open jobs.
 */
export async function* followEvents(
  deps: { http: Http; sleep: typeof sleep },
  target: EventTarget | AllEvents,
  options: EventsOptions = {},
): AsyncGenerator<SluiceEvent, void, undefined> {
  const path = toPath(target, options.after)
  yield* followPath(deps, path, 'job', options) as AsyncGenerator<SluiceEvent, void, undefined>
}

/** The same for every path with events. `last` is a member that only the last event of a stream has. */
export async function* followPath(
  { http, sleep: pause }: { http: Http; sleep: typeof sleep },
  path: string,
  last: 'job' | 'flow',
  { after, signal }: EventsOptions = {},
): AsyncGenerator<{ id: string; type: string; data: object }, void, undefined> {
  let hasEnded = false
  const batches = followStream({
    open: (lastEventId, either) =>
      http.open('GET', path, { headers: toHeaders(lastEventId), signal: either }),
    async goOn({ how, error, failures }) {
      if (how === 'unopened') throw error
      // Most likely that was the end; the next answer confirms it.
      if (hasEnded && failures === 1) return true
      // If streams end without an event, the waits grow, but the next is always requested: a job may wait for long.
      await pause(http.backOff(failures), signal)
      return true
    },
    after: after === NOW ? undefined : after,
    signal,
  })
  for await (const events of batches) {
    for (const event of events) {
      const parsed = toSluiceEvent(event)
      hasEnded = last in parsed.data
      yield parsed
    }
  }
}

function toPath(target: EventTarget | AllEvents, after: string | undefined): string {
  if (typeof target === 'string') return `/v1/jobs/${encodeURIComponent(target)}/events`
  if (!('all' in target)) return `/v1/groups/${encodeURIComponent(target.group)}/events`
  return allEventsPath(target, after)
}

/** The path of a stream of everything; there a `Last-Event-ID` takes precedence over `after`. */
export function allEventsPath({ all: _all, event, ...filter }: AllEvents, after?: string): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, String(value))
  if (event !== undefined) query.set('event', typeof event === 'string' ? event : event.join(','))
  if (after === NOW) query.set('last_event_id', NOW)
  return `/v1/events?${query}`
}

/** The headers of a request for an event stream. */
export function toHeaders(lastEventId: string): Record<string, string> {
  return { accept: 'text/event-stream', ...(lastEventId !== '' && { 'last-event-id': lastEventId }) }
}

function toSluiceEvent({ id, type, data }: ParsedEvent): { id: string; type: string; data: object } {
  try {
    return { id, type, data: JSON.parse(data) as object }
  } catch {
    const message = `the event ${id || type} has no JSON`
    throw new SluiceError({ status: 200, code: 'invalid_answer', message })
  }
}
