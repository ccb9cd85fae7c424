import { SluiceError } from './errors.ts'
import { createEventParser, type ParsedEvent } from './event-parser.ts'
import type { Http, OpenAnswer } from './http.ts'
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
  { after = '', signal }: EventsOptions = {},
): AsyncGenerator<SluiceEvent, void, undefined> {
  const path =
    typeof target === 'string'
      ? `/v1/jobs/${encodeURIComponent(target)}/events`
      : `/v1/groups/${encodeURIComponent(target.group)}/events`
  let cursor = after
  let silent = 0
  for (;;) {
    const headers = { accept: 'text/event-stream', ...(cursor !== '' && { 'last-event-id': cursor }) }
    const answer = await http.open('GET', path, { headers, signal })
    // Nothing comes after what is known.
    if (answer.response.status === 204) return
    silent++
    let hasEnded = false
    try {
      for await (const event of readEvents(answer, signal)) {
        const parsed = toSluiceEvent(event)
        cursor = parsed.id
        silent = 0
        hasEnded = 'job' in parsed.data
        yield parsed
      }
    } finally {
      answer.close()
    }
    // Most likely that was all; the next answer says so.
    if (hasEnded) continue
    // Where streams end without a word, the next is asked for ever later, but always asked for: a job may wait for long.
    await pause(http.backOff(silent + 1), signal)
  }
}

/** Ends with the stream, however that ends. */
async function* readEvents(
  answer: OpenAnswer,
  signal: AbortSignal | undefined,
): AsyncGenerator<ParsedEvent, void, undefined> {
  const parser = createEventParser()
  for (;;) {
    let bytes: Uint8Array | null
    try {
      bytes = await answer.read()
    } catch {
      signal?.throwIfAborted()
      return
    }
    if (bytes === null) return
    yield* parser.push(bytes)
  }
}

function toSluiceEvent({ id, type, data }: ParsedEvent): SluiceEvent {
  try {
    return { id, type, data: JSON.parse(data) } as SluiceEvent
  } catch {
    const message = `the event ${id || type} has no JSON`
    throw new SluiceError({ status: 200, code: 'invalid_answer', message })
  }
}
