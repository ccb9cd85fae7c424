import { SluiceError } from './errors.ts'
import { type EventsOptions, followPath } from './events.ts'
import type { Http } from './http.ts'
import type {
  CreateFlow,
  Flow,
  FlowEvent,
  FlowSummary,
  Job,
  ListFlowsAnswer,
  ListFlowsQuery,
} from './openapi.ts'
import type { sleep } from './sleep.ts'

/** A flow that did not complete; `flow` is its last state. */
export class FlowFailedError extends Error {
  override readonly name = 'FlowFailedError'
  readonly flow: Flow

  constructor(flow: Flow) {
    super(flow.error === null ? `${flow.id} was ${flow.status}` : `${flow.error.code}: ${flow.error.message}`)
    this.flow = flow
  }
}

/** What happened to a flow, or to a step of it. Pass `id` as `after` to go on behind it. */
export type FlowUpdate = { id: string } & (
  | { type: 'flow.started'; data: FlowEvent }
  | {
      type: 'step.started' | 'step.waiting' | 'step.completed' | 'step.failed' | 'step.skipped'
      data: FlowEvent & { step: string }
    }
  | { type: 'flow.completed' | 'flow.failed' | 'flow.cancelled'; data: FlowEvent & { flow: Flow } }
)

type Signalled = { signal?: AbortSignal }

export type Flows = {
  /**
   * Submits a flow. When it resolves, the flow is stored; if the client repeats the request, it is still one flow.
   */
  create(create: CreateFlow, options?: Signalled & { idempotencyKey?: string }): Promise<Flow>
  /** The current state of the flow. */
  get(id: string, options?: Signalled): Promise<Flow>
  /** The flow when it has ended, in any way. Throws `wait_timeout` when the time is up. */
  wait(id: string, options?: Signalled & { timeoutMs?: number }): Promise<Flow>
  /** Creates, waits, and resolves to the flow's `output`; throws FlowFailedError if it did not complete. */
  run<Output = unknown>(
    create: CreateFlow,
    options?: Signalled & { idempotencyKey?: string; timeoutMs?: number },
  ): Promise<Output>
  /** Events from the first, then live, until the flow's end: none is missed and none comes twice. */
  events(id: string, options?: EventsOptions): AsyncGenerator<FlowUpdate, void, undefined>
  /** Newest first, without their steps, page by page as they are read. */
  list(options?: ListFlowsQuery & Signalled): AsyncGenerator<FlowSummary, void, undefined>
  /** The jobs of a step in the order of its elements, page by page; null: an element has none yet. */
  stepJobs(id: string, step: string, options?: Signalled): AsyncGenerator<Job | null, void, undefined>
  /** Sends the value for which a step waits, or will wait: any JSON, once. */
  signal(id: string, step: string, value: unknown, options?: Signalled): Promise<Flow>
  /** Ends it at once, with its jobs. */
  cancel(id: string, options?: Signalled): Promise<Flow>
  /** Lets a failed or cancelled flow go on from the failed steps. */
  retry(id: string, options?: Signalled): Promise<Flow>
  /** Deletes it with all its jobs. */
  delete(id: string, options?: Signalled): Promise<void>
}

export function createFlows(deps: { http: Http; sleep: typeof sleep; createKey: () => string }): Flows {
  const { http, createKey } = deps
  const get: Flows['get'] = (id, { signal } = {}) => http.json('GET', flowPath(id), { signal })

  const create: Flows['create'] = (create, { idempotencyKey = createKey(), signal } = {}) =>
    http.json('POST', '/v1/flows', {
      body: JSON.stringify(create),
      contentType: 'application/json',
      headers: { 'idempotency-key': idempotencyKey },
      signal,
    })

  const events: Flows['events'] = (id, options) =>
    followPath(deps, `${flowPath(id)}/events`, 'flow', options) as ReturnType<Flows['events']>

  /** Its events show when it has ended. */
  const wait: Flows['wait'] = async (id, { timeoutMs, signal } = {}) => {
    const overtime = timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)]
    const either = AbortSignal.any([...(signal ? [signal] : []), ...overtime])
    try {
      let flow = await get(id, { signal: either })
      while (!hasEnded(flow)) {
        for await (const _ of events(id, { signal: either }));
        flow = await get(id, { signal: either })
      }
      return flow
    } catch (error) {
      if (!overtime[0]?.aborted || signal?.aborted) throw error
      const message = `${id} was not finished within ${timeoutMs} ms`
      throw new SluiceError({ status: null, code: 'wait_timeout', message, isRetryable: true })
    }
  }

  const post = (path: string, options: { body?: string; signal?: AbortSignal | undefined } = {}) =>
    http.json<Flow>('POST', path, { ...options, contentType: 'application/json', isRepeatable: false })

  return {
    create,
    get,
    wait,
    events,
    async run<Output>(body: CreateFlow, options: Parameters<Flows['run']>[1] = {}) {
      const created = await create(body, options)
      const flow = hasEnded(created) ? created : await wait(created.id, options)
      if (flow.status !== 'completed') throw new FlowFailedError(flow)
      return flow.output as Output
    },
    async *list({ signal, ...query } = {}) {
      let after = query.after
      for (;;) {
        const search = new URLSearchParams()
        for (const [name, value] of Object.entries({ ...query, after })) {
          if (value !== undefined) search.set(name, String(value))
        }
        const page = await http.json<ListFlowsAnswer>('GET', `/v1/flows?${search}`, { signal })
        yield* page.data
        if (!page.has_more || page.last_id === null) return
        after = page.last_id
      }
    },
    async *stepJobs(id, step, { signal } = {}) {
      for (let from = 0; ; ) {
        const path = `${flowPath(id)}/steps/${encodeURIComponent(step)}/jobs?from=${from}`
        const page = await http.json<{ data: { job: Job | null }[]; has_more: boolean }>('GET', path, {
          signal,
        })
        for (const { job } of page.data) yield job
        from += page.data.length
        if (!page.has_more) return
      }
    },
    signal: (id, step, value, { signal } = {}) =>
      post(`${flowPath(id)}/signals/${encodeURIComponent(step)}`, { body: JSON.stringify(value), signal }),
    cancel: (id, { signal } = {}) => post(`${flowPath(id)}/cancel`, { signal }),
    retry: (id, { signal } = {}) => post(`${flowPath(id)}/retry`, { signal }),
    async delete(id, { signal } = {}) {
      await http.json('DELETE', flowPath(id), { signal })
    },
  }
}

function hasEnded({ status }: Flow): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

function flowPath(id: string): string {
  return `/v1/flows/${encodeURIComponent(id)}`
}
