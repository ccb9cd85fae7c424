import { createDurable, type Durable } from './durable.ts'
import { JobFailedError, SluiceError } from './errors.ts'
import {
  type AllEvents,
  type EventsOptions,
  type EventTarget,
  type FlowEvent,
  followEvents,
  type SluiceEvent,
} from './events.ts'
import { createFlows, type Flows } from './flows.ts'
import { holdOn } from './hold.ts'
import { createHttp, type Fetch, type Http, type RetryOptions } from './http.ts'
import type {
  Attempt,
  BulkAnswer,
  BulkLine,
  CreateJob,
  Estimate,
  Group,
  Job,
  ListAttemptsAnswer,
  ListJobsAnswer,
  ListJobsQuery,
} from './openapi.ts'
import { createSchedules, type Schedules } from './schedules.ts'
import { sleep } from './sleep.ts'
import { createSocket, type SluiceSocket } from './socket.ts'
import { type SubmitManyOptions, submitMany } from './submit-many.ts'

export type ClientOptions = {
  /** Address of Sluice: `http://127.0.0.1:8080`. */
  url: string
  /** The tenant's key; none if the configuration has no tenants. */
  key?: string
  /** For an administrator's key: the tenant to act as. */
  tenant?: string
  /** Replaces the global `fetch`. */
  fetch?: Fetch
  /** Replaces the global `WebSocket`. */
  WebSocket?: typeof WebSocket
  retries?: Partial<RetryOptions>
  /** How long one attempt at a request may take, in ms; default 60,000. The wait for a job is added. */
  timeoutMs?: number
  /**
   * After how much silence a stream counts as broken, in ms; default 45,000. The server sends something every 15 s.
   */
  silenceMs?: number
}

export type SubmitOptions = {
  /** The same key with the same payload is the same job for 24 hours. Default: a new key for each call. */
  idempotencyKey?: string
  signal?: AbortSignal
}

export type WaitOptions = {
  /** How long to wait for the job's end, in ms. Default: for ever. */
  timeoutMs?: number
  signal?: AbortSignal
}

export type RunOptions = SubmitOptions & WaitOptions

export type ListOptions = ListJobsQuery & { signal?: AbortSignal }

/**
 * Every method throws SluiceError if the server refuses or does not answer, and the reason of its signal if that
 * aborts.
 */
export type SluiceClient = {
  /** Submits a job. When it resolves, the job is stored; if the client repeats the request, it is still one job. */
  submit(create: CreateJob, options?: SubmitOptions): Promise<Job>
  /**
   * Submits any number of jobs, which it reads no faster than the server accepts them. It answers each in order: its
   * id, or why it was refused. Jobs for which the server has no room at the moment are sent again.
   */
  submitMany(
    creates: Iterable<BulkLine> | AsyncIterable<BulkLine>,
    options?: SubmitManyOptions,
  ): AsyncGenerator<BulkAnswer, void, undefined>
  /** What jobs would cost at each tier, and when they would end. It creates nothing. */
  estimate(creates: CreateJob | CreateJob[], options?: { signal?: AbortSignal }): Promise<Estimate>
  /** The current state of the job. */
  get(id: string, options?: { signal?: AbortSignal }): Promise<Job>
  /**
   * The job when it has ended, in any way; waits over restarts of the server. Throws `wait_timeout` when the time is
   * up.
   */
  wait(id: string, options?: WaitOptions): Promise<Job>
  /**
   * Submits, waits, and resolves to the provider's answer; throws JobFailedError if the job ends without one. Name
   * the type of the answer: `run<OpenAI.ChatCompletion>({ … })`. A signal ends the wait, not the job.
   */
  run<Result = NonNullable<Job['result']>>(create: CreateJob, options?: RunOptions): Promise<Result>
  /**
   * The events of a job or a group: first those that have happened, then live, until the last possible one. None is
   * missed and none comes twice, over any number of connections and servers; `after` resumes where another process
   * stopped.
   */
  events(target: EventTarget, options?: EventsOptions): AsyncGenerator<SluiceEvent, void, undefined>
  /** The same for all events: `{ all: true }`, and members that narrow it. Does not end by itself. */
  events(target: AllEvents, options?: EventsOptions): AsyncGenerator<SluiceEvent | FlowEvent, void, undefined>
  /**
   * One WebSocket for many subscriptions and submissions, opened at its first use. It sends the key in its first
   * message, so that it works in browsers too.
   */
  socket(): SluiceSocket
  /** Ends a waiting job at once, and aborts the call of a running one. For a cancelled job it answers the job. */
  cancel(id: string, options?: { signal?: AbortSignal }): Promise<Job>
  /** Queues a failed or cancelled job again, with fresh attempts. */
  retry(id: string, options?: { signal?: AbortSignal }): Promise<Job>
  /**
   * Jobs, newest first, page by page as they are read; `limit` is the size of a page. Without their results unless
   * you pass `include: 'result'`; a result for which a page has no room is then read by itself.
   */
  list(options?: ListOptions): AsyncGenerator<Job, void, undefined>
  /** Every call that was made for a job. */
  attempts(id: string, options?: { signal?: AbortSignal }): Promise<Attempt[]>
  /**
   * Runs a function whose steps the server stores under (id, name). If its process dies, run it again with the same
   * id: finished steps answer at once, and nothing is paid for twice.
   */
  durable: Durable
  /** Jobs that are created again and again, at set times or intervals. */
  schedules: Schedules
  /** Flows: steps that use each other's results, run and stored by the server. */
  flows: Flows
  /** How many jobs of a group are in which state, and what they cost. */
  group(name: string, options?: { signal?: AbortSignal }): Promise<Group>
}

const defaultRetries: RetryOptions = { attempts: 8, firstWaitMs: 250, longestWaitMs: 30_000 }
const TIMEOUT_MS = 60_000
const SILENCE_MS = 45_000

/** A client of one server. It holds no connection and no state: create one, or many. */
export function createClient(options: ClientOptions): SluiceClient {
  const { url, key, tenant, timeoutMs = TIMEOUT_MS } = options
  const retries = { ...defaultRetries, ...options.retries }
  const http = createHttp({
    url,
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(tenant !== undefined && { 'x-tenant': tenant }),
    },
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    retries,
    timeoutMs,
    silenceMs: options.silenceMs ?? SILENCE_MS,
    random: Math.random,
    sleep,
  })

  const get: SluiceClient['get'] = (id, { signal } = {}) => http.json('GET', jobPath(id), { signal })

  const submit: SluiceClient['submit'] = (create, { idempotencyKey = createKey(), signal } = {}) =>
    http.json('POST', '/v1/jobs', {
      body: JSON.stringify(create),
      contentType: 'application/json',
      headers: { 'idempotency-key': idempotencyKey },
      signal,
    })

  const wait: SluiceClient['wait'] = (id, options = {}) => waitForEnd(http, id, timeoutMs, options)

  return {
    submit,
    get,
    wait,
    estimate: (creates, { signal } = {}) =>
      http.json('POST', '/v1/estimate', {
        body: JSON.stringify(creates),
        contentType: 'application/json',
        signal,
      }),
    submitMany: (creates, options) =>
      submitMany({ http, sleep, createKey, attempts: retries.attempts }, creates, options),
    async run<Result>(create: CreateJob, options: RunOptions = {}) {
      const submitted = await submit(create, options)
      const job = hasEnded(submitted) ? submitted : await wait(submitted.id, options)
      if (job.status !== 'completed') throw new JobFailedError(job)
      return job.result as Result
    },
    events: (target: EventTarget | AllEvents, options?: EventsOptions) =>
      followEvents({ http, sleep }, target, options),
    socket: () =>
      createSocket({
        ...{ url, key, tenant, createKey, sleep },
        WebSocket: options.WebSocket ?? findWebSocket(),
        backOff: http.backOff,
        attempts: retries.attempts,
        silenceMs: options.silenceMs ?? SILENCE_MS,
      }),
    async cancel(id, { signal } = {}) {
      try {
        return await http.json<Job>('POST', `${jobPath(id)}/cancel`, { signal })
      } catch (error) {
        if (!(error instanceof SluiceError) || error.code !== 'not_cancellable') throw error
        const job = await get(id, { signal })
        if (job.status === 'cancelled') return job
        throw error
      }
    },
    retry: (id, { signal } = {}) =>
      http.json('POST', `${jobPath(id)}/retry`, { signal, isRepeatable: false }),
    list: (options) => listJobs(http, get, options),
    attempts: async (id, { signal } = {}) =>
      (await http.json<ListAttemptsAnswer>('GET', `${jobPath(id)}/attempts`, { signal })).data,
    durable: createDurable({ http, timeoutMs, createKey }),
    schedules: createSchedules({ http, createKey }),
    flows: createFlows({ http, sleep, createKey }),
    group: (name, { signal } = {}) => http.json('GET', `/v1/groups/${encodeURIComponent(name)}`, { signal }),
  }
}

async function waitForEnd(http: Http, id: string, answerMs: number, options: WaitOptions): Promise<Job> {
  const { timeoutMs = Number.POSITIVE_INFINITY, signal } = options
  const end = performance.now() + timeoutMs
  const overtime = new AbortController()
  const timer =
    timeoutMs === Number.POSITIVE_INFINITY
      ? undefined
      : setTimeout(() => overtime.abort(waitTimeout(id, timeoutMs)), timeoutMs)
  const either = signal ? AbortSignal.any([signal, overtime.signal]) : overtime.signal
  try {
    return await holdOn({
      ask: (seconds) =>
        http.json<Job>('GET', `${jobPath(id)}?wait=${seconds.toFixed(3)}`, {
          signal: either,
          timeoutMs: answerMs + seconds * 1000,
        }),
      isOver: hasEnded,
      signal: either,
      end,
    })
  } finally {
    clearTimeout(timer)
  }
}

async function* listJobs(
  http: Http,
  get: SluiceClient['get'],
  { signal, ...query }: ListOptions = {},
): AsyncGenerator<Job, void, undefined> {
  let after = query.after
  for (;;) {
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries({ ...query, after })) {
      if (value !== undefined) search.set(name, String(value))
    }
    const page = await http.json<ListJobsAnswer>('GET', `/v1/jobs?${search}`, { signal })
    for (const job of page.data) {
      yield query.include === 'result' && job.result_omitted ? await readWhole(get, job, signal) : job
    }
    if (!page.has_more || page.last_id === null) return
    after = page.last_id
  }
}

/** The job with its result; as in the list if it was deleted since. */
async function readWhole(get: SluiceClient['get'], job: Job, signal: AbortSignal | undefined): Promise<Job> {
  try {
    return await get(job.id, { signal })
  } catch (error) {
    if (error instanceof SluiceError && error.status === 404) return job
    throw error
  }
}

function hasEnded({ status }: Job): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

function jobPath(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`
}

function waitTimeout(id: string, timeoutMs: number): SluiceError {
  const message = `${id} was not finished within ${timeoutMs} ms`
  return new SluiceError({ status: null, code: 'wait_timeout', message, isRetryable: true })
}

function findWebSocket(): typeof WebSocket {
  if (typeof globalThis.WebSocket === 'function') return globalThis.WebSocket
  throw new Error(
    'there is no WebSocket here (Node has one from 22 on): give one in the options of the client',
  )
}

/** Not `crypto.randomUUID`, which browsers hide from pages without TLS. */
function createKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
