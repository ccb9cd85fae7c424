import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Delivery,
  type GroupSummary,
  isTerminal,
  type Job,
  type JobEvent,
  type JobEventType,
  JobStatus,
} from '../../jobs/job.ts'
import type { CreateOutcome, Following, Jobs, NewJob } from '../../jobs/jobs.ts'
import type { JsonObject } from '../../lib/json.ts'

type Entry = { tenant: string; job: Job; payload: string; key: string | null; events: JobEvent[] }

export type MemoryJobs = Jobs & {
  /** Everything that was submitted, as the routes handed it over. */
  submitted: NewJob[]
  /** The sizes of the batches of `createMany`. */
  batches: number[]
  finish(id: string, changes: { result?: JsonObject; error?: Job['error'] }): void
  publish(id: string, event: JobEventType, members?: JsonObject): void
  addDelivery(delivery: Delivery): void
  /** Every call from now on throws this; null: no more. */
  breakWith(error: Error | null): void
  /** What `createMany` waits for before it answers. */
  slowDown(ms: number): void
}

/**
 * The least that stands in for the store where only HTTP is under test: jobs in a list, events in arrays. It knows nothing
 * of queues, caches or claims. `records: false` keeps no jobs, for tests that send more than memory should hold.
 */
export function createMemoryJobs(options: { now: () => number; records?: boolean }): MemoryJobs {
  const entries: Entry[] = []
  const deliveries: Delivery[] = []
  const watchers = new Set<() => void>()
  let broken: Error | null = null
  let slowness = 0
  let sequence = 0

  const stamp = () => new Date(options.now()).toISOString()
  const check = () => {
    if (broken !== null) throw broken
  }
  const find = (tenant: string, id: string) =>
    entries.find((entry) => entry.tenant === tenant && entry.job.id === id)
  const wake = () => {
    for (const watcher of [...watchers]) watcher()
  }

  function addEvent(entry: Entry, event: JobEventType, members: JsonObject = {}) {
    const seq = entry.events.length + 1
    const data = { job_id: entry.job.id, seq, at: stamp(), ...members }
    const job = event === 'job.completed' || event === 'job.failed' || event === 'job.cancelled'
    entry.events.push({ cursor: `${++sequence}-0`, event, data: job ? { ...data, job: entry.job } : data })
    wake()
  }

  function createOne(input: NewJob): CreateOutcome {
    memory.submitted.push(input)
    const payload = JSON.stringify([input.type, input.model, input.body])
    const earlier = entries.find(
      (entry) =>
        entry.tenant === input.tenant && entry.key === input.idempotencyKey && input.idempotencyKey !== null,
    )
    if (earlier !== undefined) {
      return earlier.payload === payload ? { kind: 'replayed', job: earlier.job } : { kind: 'conflict' }
    }
    const open = entries.filter((entry) => entry.tenant === input.tenant && !isTerminal(entry.job.status))
    if (open.length >= input.limits.maxQueued) {
      return { kind: 'refused', code: 'queue_full', retryAfterMs: null }
    }
    const job: Job = {
      id: `job_${++sequence}`,
      object: 'job',
      type: input.type,
      status: input.runAt === null ? 'queued' : 'scheduled',
      model: input.model,
      lane: input.lane,
      group: input.group,
      priority: input.priority,
      metadata: input.metadata,
      created_at: stamp(),
      run_at: input.runAt === null ? null : new Date(input.runAt).toISOString(),
      started_at: null,
      finished_at: null,
      deadline: input.deadline === null ? null : new Date(input.deadline).toISOString(),
      attempts: 0,
      max_attempts: input.maxAttempts,
      next_attempt_at: null,
      estimated_start_at: null,
      waiting_for: null,
      cache: input.cache === 'off' ? 'off' : 'miss',
      result: null,
      usage: null,
      cost_usd: null,
      error: null,
    }
    const entry: Entry = { tenant: input.tenant, job, payload, key: input.idempotencyKey, events: [] }
    if (options.records !== false) {
      entries.push(entry)
      addEvent(entry, 'job.queued')
    } else {
      memory.submitted.length = 0
    }
    return { kind: 'created', job }
  }

  async function untilWoken(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    await new Promise<void>((resolve) => {
      const done = () => {
        watchers.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      watchers.add(done)
      signal.addEventListener('abort', done)
    })
  }

  function followEntries(select: () => Entry[], cursor: string, signal: AbortSignal): Following {
    const position = (given: string) => Number(given.split('-')[0] || 0)
    const after = (from: number) =>
      select()
        .flatMap((entry) => entry.events)
        .filter((event) => position(event.cursor) > from)
        .sort((a, b) => position(a.cursor) - position(b.cursor))
    const allDone = () => select().every((entry) => isTerminal(entry.job.status))
    async function* events(): AsyncGenerator<JobEvent> {
      let last = position(cursor)
      while (!signal.aborted) {
        check()
        for (const event of after(last)) {
          last = position(event.cursor)
          yield event
        }
        if (after(last).length > 0) continue
        if (allDone()) return
        await untilWoken(signal)
      }
    }
    return { finished: allDone() && after(position(cursor)).length === 0, events: events() }
  }

  const memory: MemoryJobs = {
    submitted: [],
    batches: [],
    async create(input) {
      check()
      return createOne(input)
    },
    async createMany(inputs) {
      check()
      memory.batches.push(inputs.length)
      if (slowness > 0) await sleep(slowness)
      return inputs.map((input) => {
        const outcome = createOne(input)
        if (outcome.kind === 'conflict' || outcome.kind === 'refused') return outcome
        return { kind: outcome.kind, id: outcome.job.id, status: outcome.job.status }
      })
    },
    async get(tenant, id) {
      check()
      return find(tenant, id)?.job ?? null
    },
    async wait(tenant, id, timeoutMs, signal) {
      check()
      const end = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])])
      for (;;) {
        const job = find(tenant, id)?.job ?? null
        if (job === null || isTerminal(job.status) || end.aborted) return job
        await untilWoken(end)
      }
    },
    async list(tenant, filter, limit, after) {
      check()
      const all = entries
        .filter((entry) => entry.tenant === tenant)
        .map((entry) => entry.job)
        .reverse()
        .filter((job) => filter.status === undefined || job.status === filter.status)
        .filter((job) => filter.type === undefined || job.type === filter.type)
        .filter((job) => filter.group === undefined || job.group === filter.group)
        .filter((job) => filter.lane === undefined || job.lane === filter.lane)
      const start = after === undefined ? 0 : all.findIndex((job) => job.id === after) + 1
      return { data: all.slice(start, start + limit), hasMore: all.length > start + limit }
    },
    async attempts(tenant, id) {
      check()
      return find(tenant, id) === undefined ? null : []
    },
    async cancel(tenant, id) {
      check()
      const entry = find(tenant, id)
      if (entry === undefined) return null
      if (isTerminal(entry.job.status)) return { kind: 'terminal', job: entry.job }
      entry.job = { ...entry.job, status: 'cancelled', finished_at: stamp() }
      addEvent(entry, 'job.cancelled')
      return { kind: 'cancelled', job: entry.job }
    },
    async retry(tenant, id) {
      check()
      const entry = find(tenant, id)
      if (entry === undefined) return null
      const { status } = entry.job
      if (status !== 'failed' && status !== 'cancelled') return { kind: 'not_retryable', job: entry.job }
      entry.job = { ...entry.job, status: 'queued', finished_at: null, error: null }
      addEvent(entry, 'job.queued')
      return { kind: 'retried', job: entry.job }
    },
    async redrive(tenant, filter) {
      check()
      const failed = entries
        .filter((entry) => entry.tenant === tenant && entry.job.status === 'failed')
        .filter((entry) => filter.group === undefined || entry.job.group === filter.group)
        .filter((entry) => filter.lane === undefined || entry.job.lane === filter.lane)
        .filter((entry) => filter.errorCode === undefined || entry.job.error?.code === filter.errorCode)
        .slice(0, filter.limit)
      for (const entry of failed) entry.job = { ...entry.job, status: 'queued', error: null }
      return failed.length
    },
    async remove(tenant, id) {
      check()
      const entry = find(tenant, id)
      if (entry === undefined) return false
      entries.splice(entries.indexOf(entry), 1)
      return true
    },
    async group(tenant, group): Promise<GroupSummary | null> {
      check()
      const members = entries.filter((entry) => entry.tenant === tenant && entry.job.group === group)
      if (members.length === 0) return null
      const counts = Object.fromEntries(Object.values(JobStatus).map((status) => [status, 0])) as Record<
        JobStatus,
        number
      >
      for (const { job } of members) counts[job.status]++
      return { group, total: members.length, counts, cost_usd: 0, estimated_finish_at: null }
    },
    async follow(tenant, id, cursor, signal) {
      check()
      const entry = find(tenant, id)
      return entry === undefined ? null : followEntries(() => [entry], cursor, signal)
    },
    async followGroup(tenant, group, cursor, signal) {
      check()
      const select = () => entries.filter((entry) => entry.tenant === tenant && entry.job.group === group)
      return select().length === 0 ? null : followEntries(select, cursor, signal)
    },
    async deliveries(tenant, jobId) {
      check()
      if (find(tenant, jobId) === undefined) return null
      return deliveries.filter((delivery) => delivery.job_id === jobId)
    },
    async redeliver(tenant, deliveryId) {
      check()
      const delivery = deliveries.find((candidate) => candidate.id === deliveryId)
      return delivery === undefined || find(tenant, delivery.job_id) === undefined ? null : delivery
    },
    finish(id, { result, error }) {
      const entry = entries.find((candidate) => candidate.job.id === id)!
      const status = error ? 'failed' : 'completed'
      entry.job = {
        ...entry.job,
        status,
        finished_at: stamp(),
        result: result ?? null,
        error: error ?? null,
      }
      addEvent(entry, `job.${status}`)
    },
    publish(id, event, members) {
      addEvent(entries.find((candidate) => candidate.job.id === id)!, event, members)
    },
    addDelivery(delivery) {
      deliveries.push(delivery)
    },
    breakWith(error) {
      broken = error
      wake()
    },
    slowDown(ms) {
      slowness = ms
    },
  }
  return memory
}
