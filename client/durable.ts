import { JobFailedError, SluiceError } from './errors.ts'
import { holdOn } from './hold.ts'
import type { Http } from './http.ts'
import type {
  CreateJob,
  DurableRun,
  DurableRunSummary,
  DurableSignal,
  DurableStep,
  Job,
  ListDurableRunsAnswer,
  ListDurableRunsQuery,
  PutDurableStep,
} from './openapi.ts'
import { sleep } from './sleep.ts'
import { createTurnstile } from './turnstile.ts'

/** Milliseconds, or a number with its unit: `20ms`, `5s`, `1.5h`, `7d`. */
export type Duration = number | string

export type WaitForSignalOptions = {
  /** How long to wait, from the beginning of the step; then the step throws `signal_timeout`. Default: for ever. */
  timeout?: Duration
}

/** The steps of a durable function. Every name identifies one step of the run. */
export type DurableSteps = {
  /**
   * A job: resolves to its answer, at once if an earlier run of the function has got it. Throws JobFailedError if the
   * job ended without one, now and in every later run, until its job is queued again (`client.retry(error.job.id)`).
   */
  job<Result = NonNullable<Job['result']>>(name: string, create: CreateJob): Promise<Result>
  /** Resolves when so much time has passed since the step began, by the server's clock. */
  sleep(name: string, time: Duration): Promise<void>
  /** Resolves to the value that `client.durable.signal(id, name, value)` sent, or will send. */
  signal<Value = unknown>(name: string, options?: WaitForSignalOptions): Promise<Value>
  /** The results of several steps, once all of them are over. Throws the error of the first step that failed. */
  all<const Steps extends readonly unknown[]>(
    steps: Steps,
  ): Promise<{ -readonly [Index in keyof Steps]: Awaited<Steps[Index]> }>
}

export type DurableOptions = {
  /** Ends the wait of the function, not its jobs. Steps throw its reason from then on. */
  signal?: AbortSignal
}

export type SendSignalOptions = {
  /** The same key is the same signal, also from another process. Default: a new key for each call. */
  idempotencyKey?: string
  signal?: AbortSignal
}

export type Durable = {
  /** Runs the function and resolves to its result. Run it again with the same id to go on where it was. */
  <Result>(
    id: string,
    run: (step: DurableSteps) => Result | Promise<Result>,
    options?: DurableOptions,
  ): Promise<Result>
  /** Sends any JSON to a step that waits for it, or will. Once: a second signal throws `already_signalled`. */
  signal(id: string, name: string, value: unknown, options?: SendSignalOptions): Promise<DurableSignal>
  /** The run with its steps, without their results. */
  get(id: string, options?: { signal?: AbortSignal }): Promise<DurableRun>
  /** Runs without their steps, newest first, page by page as they are read; `limit` is the size of a page. */
  list(
    options?: ListDurableRunsQuery & { signal?: AbortSignal },
  ): AsyncGenerator<DurableRunSummary, void, undefined>
  /** Deletes the run and its jobs. If you run it again, it starts from the beginning. */
  delete(id: string, options?: { signal?: AbortSignal }): Promise<void>
}

export type DurableDeps = { http: Http; timeoutMs: number; createKey: () => string }

/** Requests of one run that are under way at a time: to begin steps, and to wait for jobs. */
const BEGINS_AT_ONCE = 16
const WAITS_AT_ONCE = 64
/** A turn of waiting while other steps need theirs, in s. */
const SHORT_TURN = 5
/** A long sleep asks the server this often, in ms. */
const LONGEST_NAP_MS = 3_600_000

/** The same pattern as in the server. `.` and `..` have another meaning in a path. */
const NAME = /^(?!\.{1,2}$)[\x20-\x7e]{1,128}$/

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export function createDurable(deps: DurableDeps): Durable {
  const { http, createKey } = deps
  async function execute<Result>(
    id: string,
    run: (step: DurableSteps) => Result | Promise<Result>,
    options: DurableOptions = {},
  ): Promise<Result> {
    const over = new AbortController()
    try {
      return await run(createSteps(deps, runPath(id), over.signal, options.signal))
    } finally {
      over.abort()
    }
  }

  return Object.assign(execute, {
    async signal(id: string, name: string, value: unknown, options: SendSignalOptions = {}) {
      const { idempotencyKey = createKey(), signal } = options
      const body = JSON.stringify(value)
      if (body === undefined) throw invalid('value', 'expected what can be written as JSON')
      return http.json<DurableSignal>('POST', `${runPath(id)}/signals/${encodeName(name)}`, {
        body,
        contentType: 'application/json',
        headers: { 'idempotency-key': idempotencyKey },
        signal,
      })
    },
    get: (id: string, { signal }: { signal?: AbortSignal } = {}) =>
      http.json<DurableRun>('GET', runPath(id), { signal }),
    async *list({ signal, ...query }: ListDurableRunsQuery & { signal?: AbortSignal } = {}) {
      let { after } = query
      for (;;) {
        const search = new URLSearchParams()
        if (query.limit !== undefined) search.set('limit', String(query.limit))
        if (after !== undefined) search.set('after', after)
        const page = await http.json<ListDurableRunsAnswer>('GET', `/v1/durable?${search}`, { signal })
        yield* page.data
        if (!page.has_more || page.last_id === null) return
        after = page.last_id
      }
    },
    async delete(id: string, { signal }: { signal?: AbortSignal } = {}) {
      await http.json('DELETE', runPath(id), { signal })
    },
  })
}

function createSteps(
  { http, timeoutMs }: DurableDeps,
  path: string,
  over: AbortSignal,
  given: AbortSignal | undefined,
): DurableSteps {
  const signal = given ? AbortSignal.any([given, over]) : over
  const begins = createTurnstile(BEGINS_AT_ONCE)
  const waits = createTurnstile(WAITS_AT_ONCE)
  const names = new Set<string>()

  /** Begins a step and follows it. When the function has ended and nobody waits for the step, it stays as it is. */
  function begin<T>(
    name: string,
    what: () => PutDurableStep,
    goOn: (step: DurableStep, at: string) => Promise<T>,
  ): Promise<T> {
    if (over.aborted)
      return Promise.reject(new Error('the durable function has ended; it begins no more steps'))
    const result = new Promise<T>((resolve, reject) => {
      const act = async () => {
        signal.throwIfAborted()
        const at = `${path}/steps/${encodeName(name)}`
        if (names.has(name)) {
          const message = `the run has another step ${name}: each needs a name of its own`
          throw new SluiceError({ status: null, code: 'duplicate_step', message, param: 'name' })
        }
        names.add(name)
        const body = JSON.stringify(what())
        const put = () => http.json<DurableStep>('PUT', at, { body, contentType: 'application/json', signal })
        return goOn(await begins.pass(put, signal), at)
      }
      act().then(resolve, (error) => {
        if (!over.aborted) reject(error)
      })
    })
    // It may be awaited later than it fails.
    result.catch(() => {})
    return result
  }

  const ask = (at: string) => (seconds: number) =>
    http.json<DurableStep>('GET', `${at}?wait=${seconds.toFixed(3)}`, {
      signal,
      timeoutMs: timeoutMs + seconds * 1000,
    })

  return {
    job<Result>(name: string, create: CreateJob) {
      return begin(
        name,
        () => ({ job: create }),
        async (begun, at) => {
          const longestTurn = () => (waits.waiting() > 0 ? SHORT_TURN : Number.POSITIVE_INFINITY)
          const turn = (seconds: number) => waits.pass(() => ask(at)(seconds), signal)
          const step = isOver(begun) ? begun : await holdOn({ ask: turn, isOver, longestTurn, signal })
          if (step.status !== 'completed') throw new JobFailedError(step.job!)
          return step.job!.result as Result
        },
      )
    },

    sleep(name, time) {
      return begin(
        name,
        () => ({ sleep_ms: readDuration(time, 'time') }),
        async (begun, at) => {
          for (let step = begun; !isOver(step); step = await ask(at)(0)) {
            await sleep(Math.min(step.left_ms ?? 0, LONGEST_NAP_MS), signal)
          }
        },
      )
    },

    signal<Value>(name: string, { timeout }: WaitForSignalOptions = {}) {
      const wanted = () => (timeout === undefined ? {} : { timeout_ms: readDuration(timeout, 'timeout') })
      return begin(
        name,
        () => ({ signal: wanted() }),
        async (begun, at) => {
          const step = isOver(begun) ? begun : await holdOn({ ask: ask(at), isOver, signal })
          if (step.status === 'completed') return step.value as Value
          const message = `no signal ${name} came until ${step.wake_at}`
          throw new SluiceError({ status: null, code: 'signal_timeout', message })
        },
      )
    },

    async all(steps) {
      const settled = await Promise.allSettled(steps)
      const failed = settled.find((one) => one.status === 'rejected')
      if (failed) throw failed.reason
      return settled.map((one) => (one as PromiseFulfilledResult<unknown>).value) as never
    },
  }
}

function isOver({ status }: DurableStep): boolean {
  return status !== 'waiting'
}

function runPath(id: string): string {
  if (!NAME.test(id)) throw invalid('id', 'expected 1 to 128 characters of printable ASCII, and not . or ..')
  return `/v1/durable/${encodeURIComponent(id)}`
}

function encodeName(name: string): string {
  if (!NAME.test(name)) {
    throw invalid('name', 'expected 1 to 128 characters of printable ASCII, and not . or ..')
  }
  return encodeURIComponent(name)
}

function readDuration(time: Duration, param: string): number {
  const [, number, unit] = typeof time === 'string' ? (/^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(time) ?? []) : []
  const ms = typeof time === 'number' ? time : Number(number) * UNITS[unit ?? '']!
  if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) {
    throw invalid(
      param,
      `expected milliseconds, or a time such as "20ms", "5s", "1.5h" or "7d", got ${JSON.stringify(time)}`,
    )
  }
  return Math.round(ms)
}

function invalid(param: string, what: string): SluiceError {
  return new SluiceError({ status: null, code: 'invalid_request', message: `${param}: ${what}`, param })
}
