import type { RedisClient } from '../lib/redis.ts'
import { contentHash, hashCanonical } from './content-hash.ts'
import { followGroup, followJob } from './follow.ts'
import { type Attempt, isTerminal, type Job, JobStatus } from './job.ts'
import type { BulkOutcome, CreateOutcome, JobFilter, Jobs, NewJob, Page, Refusal } from './jobs.ts'
import { abortChannel, jobChannel, tenantRoot } from './keys.ts'
import { listJobs } from './list.ts'
import type { Live } from './live.ts'
import type { Outbox } from './outbox.ts'
import { encodePayload } from './payload.ts'
import { formatOf, splitPresentation } from './presentation.ts'
import type { Queues } from './queue.ts'
import { createReader, type Foresight } from './read.ts'
import { isoTime, type JobRecord, type ResultRenderer, textOf, toJob, toRecord } from './record.ts'
import type { Room } from './room.ts'
import type { Scripts } from './scripts.ts'

/** How long an idempotency key is remembered. */
const IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000

/** Newest jobs of a group that are asked for its end. */
const GROUP_TAIL = 50

/** What of a delivery the jobs need; the webhooks' own store implements it. */
export type Deliveries = Pick<Jobs, 'redeliver'> & {
  list(tenant: string, jobId: string): ReturnType<Jobs['deliveries']>
}

type Deps = {
  redis: RedisClient
  scripts: Scripts
  queues: Queues
  outbox: Outbox
  live: Live
  prefix: string
  retainMs: () => number
  render: ResultRenderer
  deliveries: Deliveries
  foresight: Foresight
  room: Room
  newId: () => string
  onError: (error: unknown, what: string) => void
}

/** The API's side of the job store; the workers' side is work.ts. */
export function createJobs(deps: Deps): Jobs {
  const { redis, scripts, queues, outbox, live, prefix, render } = deps
  const rootOf = (tenant: string) => tenantRoot(prefix, tenant)

  const reader = createReader({ redis, queues, foresight: deps.foresight, render })
  const read = (tenant: string, id: string) => reader.one(rootOf(tenant), id)

  /** Runs the create script for each job in one round trip. */
  async function submit(jobs: NewJob[]): Promise<Submitted[]> {
    // Without room the script still finds replays, and refuses the rest.
    const isFull = await deps.room.isFull()
    const prepared = jobs.map((job) => {
      const limits = isFull ? { ...job.limits, maxQueued: 0 } : job.limits
      return prepare({ ...job, limits }, deps.newId(), deps.retainMs())
    })
    const calls = prepared.map(({ job, args }) => ({ root: rootOf(job.tenant), args }))
    const answers = await scripts.runAll('create', calls)
    deps.room.fill(jobs.length)
    return prepared.map((one, index) => {
      const [kind, ...rest] = answers[index] as [Buffer, ...unknown[]]
      return { ...one, kind: kind.toString() as Submitted['kind'], rest }
    })
  }

  const entryOf = ({ job, id }: Submitted) => ({
    tenant: job.tenant,
    id,
    entry: 1,
    lane: job.lane,
    priority: job.priority,
    notBefore: job.runAt,
    cost: job.cost,
  })

  /** After a cancel or a removal: the entry out of the queue, the call aborted, the promoted job queued. */
  async function release(
    tenant: string,
    id: string,
    lane: string,
    entry: number,
    answer: Buffer[],
  ): Promise<void> {
    const [, was, abort, promoted] = answer
    if (abort?.toString() === '1') await redis.publish(abortChannel(prefix), `${tenant} ${id}`)
    await outbox.dispatchById(tenant, promoted?.toString() ?? '')
    // The entry of a running job goes when its call ends: after the death of its worker it is how the job is found,
    // and through it those who wait for the same call.
    if (was?.toString() === JobStatus.running) return
    // A worker would find the job ended and pass over it; taking the entry out spares its lane that look.
    queues.remove(lane, id, entry).catch((error) => deps.onError(error, 'removing a queue entry'))
  }

  async function laneAndEntry(tenant: string, id: string): Promise<[string, number]> {
    const [lane, entry] = await redis.hmget(`${rootOf(tenant)}:job:${id}`, 'lane', 'entries')
    return [lane ?? '', Number(entry ?? 0)]
  }

  async function again(tenant: string, id: string): Promise<string> {
    const answer = (await scripts.run('again', rootOf(tenant), [id, deps.retainMs()])) as Buffer[]
    const kind = answer[0]!.toString()
    if (kind === 'queued') await outbox.dispatchById(tenant, id)
    return kind
  }

  /**
   * When the last waiting job of a group starts: within a lane and a tenant the newest come last, so a look at
   * these is enough. Null when none waits or nothing is known of their lanes.
   */
  async function finishOf(
    root: string,
    group: string,
    counts: Record<JobStatus, number>,
  ): Promise<string | null> {
    if (counts.queued + counts.scheduled === 0) return null
    const ids = await redis.zrange(`${root}:group:${group}:jobs`, '0', String(GROUP_TAIL - 1), 'REV')
    const records = await reader.records(root, ids)
    const found = ids.flatMap((id, index) => (records[index] ? [{ id, record: records[index] }] : []))
    const starts = (await reader.jobs(root, found)).flatMap((job) => job.estimated_start_at ?? [])
    return starts.sort().at(-1) ?? null
  }

  return {
    async create(job) {
      const [submitted] = await submit([job])
      const outcome = toOutcome(submitted!)
      if (outcome.kind === 'created') await forecast(outcome.job, job)
      return outcome
    },

    async createMany(jobs) {
      if (jobs.length === 0) return []
      const submitted = await submit(jobs)
      // Accepted all the same where the queue does not take them now: the sweeper adds what stands in the outbox.
      await outbox
        .dispatch(submitted.filter((one) => one.kind === 'created').map(entryOf))
        .catch((error) => deps.onError(error, 'queueing jobs'))
      return submitted.map(toBulkOutcome)
    },

    get: read,

    async wait(tenant, id, timeoutMs, signal) {
      let job = await read(tenant, id)
      if (!job || isTerminal(job.status) || timeoutMs <= 0) return job
      const over = AbortSignal.any([AbortSignal.timeout(Math.ceil(timeoutMs)), ...(signal ? [signal] : [])])
      const ended = Promise.withResolvers<void>()
      over.addEventListener('abort', () => ended.resolve())
      if (over.aborted) ended.resolve()
      const look = async () => {
        const status = await redis.hget(`${rootOf(tenant)}:job:${id}`, 'status')
        if (!status || isTerminal(status as Job['status'])) ended.resolve()
      }
      const leave = await live.listen(jobChannel(rootOf(tenant), id), () => {
        look().catch(() => {})
      })
      try {
        await look() // it may have ended before the subscription stood
        await ended.promise
        job = await read(tenant, id)
      } finally {
        leave()
      }
      return job
    },

    list: (tenant: string, filter: JobFilter, limit: number, after?: string): Promise<Page<Job>> =>
      listJobs({ redis, reader }, rootOf(tenant), filter, limit, after),

    async attempts(tenant, id) {
      const key = `${rootOf(tenant)}:job:${id}`
      const [fields, deleted, status] = await Promise.all([
        redis.hgetall(`${key}:attempts`),
        redis.hget(key, 'deleted'),
        redis.hget(key, 'status'),
      ])
      return status && !deleted ? toAttempts(fields) : null
    },

    async cancel(tenant, id) {
      const [lane, entry] = await laneAndEntry(tenant, id)
      const answer = (await scripts.run('cancel', rootOf(tenant), [id, deps.retainMs()])) as Buffer[]
      const kind = answer[0]!.toString()
      if (kind === 'none') return null
      if (kind === 'cancelled') await release(tenant, id, lane, entry, answer)
      const job = await read(tenant, id)
      return job && { kind: kind as 'cancelled' | 'terminal', job }
    },

    async retry(tenant, id) {
      const kind = await again(tenant, id)
      if (kind === 'none') return null
      const job = await read(tenant, id)
      return job && { kind: kind === 'not_retryable' ? 'not_retryable' : 'retried', job }
    },

    async redrive(tenant, filter) {
      const root = rootOf(tenant)
      let retried = 0
      // Oldest first; a snapshot, for the retried ones leave the index while we walk.
      const failed = await redis.zrange(`${root}:status:${JobStatus.failed}`, '0', '-1')
      for (let at = 0; at < failed.length && retried < filter.limit; at += 200) {
        const ids = failed.slice(at, at + 200)
        const pipeline = redis.pipeline()
        for (const id of ids) pipeline.hmget(`${root}:job:${id}`, 'group', 'lane', 'error')
        const answers = (await pipeline.exec()) ?? []
        for (let index = 0; index < ids.length && retried < filter.limit; index++) {
          const [group, lane, error] = (answers[index]?.[1] ?? []) as (string | null)[]
          if (filter.group !== undefined && group !== filter.group) continue
          if (filter.lane !== undefined && lane !== filter.lane) continue
          if (filter.errorCode !== undefined && (!error || JSON.parse(error).code !== filter.errorCode))
            continue
          const kind = await again(tenant, ids[index]!)
          if (kind !== 'none' && kind !== 'not_retryable') retried++
        }
      }
      return retried
    },

    async remove(tenant, id) {
      const [lane, entry] = await laneAndEntry(tenant, id)
      const answer = (await scripts.run('remove', rootOf(tenant), [id, '1'])) as Buffer[]
      if (answer[0]!.toString() === 'none') return false
      await release(tenant, id, lane, entry, answer)
      return true
    },

    async group(tenant, group) {
      const fields = await redis.hgetall(`${rootOf(tenant)}:group:${group}`)
      if (Object.keys(fields).length === 0) return null
      const counts = Object.fromEntries(
        Object.values(JobStatus).map((status) => [status, Number(fields[status] ?? 0)]),
      ) as Record<JobStatus, number>
      return {
        group,
        total: Number(fields.total ?? 0),
        counts,
        cost_usd: Number(fields.cost_usd ?? 0),
        estimated_finish_at: await finishOf(rootOf(tenant), group, counts),
      }
    },

    follow: (tenant, id, cursor, signal) =>
      followJob({ redis, live, reader }, rootOf(tenant), id, cursor, signal),
    followGroup: (tenant, group, cursor, signal) =>
      followGroup({ redis, live, reader }, rootOf(tenant), group, cursor, signal),

    async deliveries(tenant, jobId) {
      if (!(await read(tenant, jobId))) return null
      return deps.deliveries.list(tenant, jobId)
    },
    redeliver: (tenant, deliveryId) => deps.deliveries.redeliver(tenant, deliveryId),
  }

  /** Says when a job just created will start; a guess that fails is none. */
  async function forecast(job: Job, { tenant, lane, priority, runAt }: NewJob): Promise<void> {
    if (runAt !== null) job.estimated_start_at = job.run_at
    if (job.status !== JobStatus.queued) return
    try {
      const { startAt, waitingFor } = await deps.foresight.newcomer(lane, tenant, priority)
      job.estimated_start_at = startAt === null ? null : isoTime(startAt)
      job.waiting_for = waitingFor
    } catch (error) {
      deps.onError(error, 'forecasting a job')
    }
  }

  function toOutcome(submitted: Submitted): CreateOutcome {
    const { kind, rest, id, record } = submitted
    if (isRefused(kind)) return toRefusal(kind, rest)
    if (kind === 'conflict') return { kind }
    if (kind === 'replayed') {
      const [known, flat] = rest as [Buffer, Buffer[]]
      return { kind: 'replayed', job: toJob(known.toString(), toRecord(flat)!, render) }
    }
    if (kind === 'created') {
      // Durable already: record and outbox entry stand. Should the queue not take it now, the sweeper adds it.
      outbox.dispatch([entryOf(submitted)]).catch((error) => deps.onError(error, 'queueing a job'))
    }
    return {
      kind: 'created',
      job: toJob(id, completeRecord(record, kind, rest as Buffer[], submitted.job), render),
    }
  }
}

type Submitted = {
  job: NewJob
  id: string
  record: Map<string, string | Buffer>
  args: (string | number | Buffer)[]
  kind: 'created' | 'shared' | 'hit' | 'replayed' | 'conflict' | Refusal['code']
  rest: unknown[]
}

function prepare(job: NewJob, id: string, retainMs: number) {
  const hash = contentHash(job.type, job.model, job.body)
  const record = new Map<string, string | Buffer>([
    ['type', job.type],
    ['model', job.model],
    ['lane', job.lane],
    ['body', encodePayload(job.body)],
    ['priority', job.priority],
    ['max_attempts', String(job.maxAttempts)],
    ['timeout_ms', String(job.timeoutMs)],
    ['cost', JSON.stringify(job.cost)],
  ])
  const format = formatOf(job.type, job.body)
  if (format !== null) record.set('format', format)
  if (job.isShownLive) record.set('live', '1')
  if (job.runAt !== null) record.set('run_at', String(job.runAt))
  if (job.deadline !== null) record.set('deadline', String(job.deadline))
  if (job.group !== null) record.set('group', job.group)
  if (job.webhook !== null) record.set('webhook', JSON.stringify(job.webhook))
  if (Object.keys(job.metadata).length > 0) record.set('metadata', JSON.stringify(job.metadata))
  const args = [
    id,
    hash,
    job.cache,
    job.idempotencyKey ?? '',
    job.idempotencyKey === null ? '' : fingerprint(job, hash),
    IDEMPOTENCY_TTL_MS,
    job.limits.maxQueued,
    retainMs,
    job.runAt ?? '',
    job.group ?? '',
    job.deadline ?? '',
    job.limits.requestsPerMinute ?? '',
    job.limits.budgetUsdPerDay ?? '',
    job.estimateUsd,
    job.earliestStart == null ? '' : Math.round(job.earliestStart),
    ...[...record].flat(),
  ]
  return { job, id, record, args }
}

/** What makes two requests with one idempotency key the same request. */
function fingerprint(job: NewJob, hash: string): string {
  if (job.fingerprint !== undefined) return job.fingerprint
  const { priority, cache, group, metadata, maxAttempts, timeoutMs, runAt } = job
  const webhook = job.webhook && { url: job.webhook.url, events: job.webhook.events }
  return hashCanonical({
    hash,
    presentation: splitPresentation(job.type, job.body).presentation,
    priority,
    cache,
    group,
    metadata,
    maxAttempts,
    timeoutMs,
    webhook,
    scheduled: runAt !== null,
  })
}

/** The record as the create script left it, put together from what went in and what it answered. */
function completeRecord(
  sent: Map<string, string | Buffer>,
  kind: 'created' | 'shared' | 'hit',
  rest: Buffer[],
  job: NewJob,
): JobRecord {
  const [at, result, usage] = rest
  const record: JobRecord = new Map()
  for (const [name, value] of sent) record.set(name, typeof value === 'string' ? Buffer.from(value) : value)
  const put = (name: string, value: string) => record.set(name, Buffer.from(value))
  const time = at!.toString()
  const scheduled = job.runAt !== null && job.runAt > Number(time)
  put('created_at', time)
  put('status', kind === 'hit' ? 'completed' : scheduled ? 'scheduled' : 'queued')
  put('cache', kind === 'hit' ? 'hit' : kind === 'shared' ? 'shared' : job.cache === 'off' ? 'off' : 'miss')
  if (kind === 'hit') {
    put('finished_at', time)
    put('cost_usd', '0')
    record.set('result', result!)
    record.set('usage', usage!)
  }
  return record
}

/** Answers of the create script that let the job not in. */
const REFUSALS: Record<Refusal['code'], true> = {
  queue_full: true,
  rate_limited: true,
  budget_exhausted: true,
  deadline_unreachable: true,
}

function isRefused(kind: Submitted['kind']): kind is Refusal['code'] {
  return kind in REFUSALS
}

function toRefusal(code: Refusal['code'], rest: unknown[]): Refusal {
  return { kind: 'refused', code, retryAfterMs: rest.length > 0 ? Number(String(rest[0])) : null }
}

function toBulkOutcome(submitted: Submitted): BulkOutcome {
  const { kind, id, job, rest } = submitted
  if (isRefused(kind)) return toRefusal(kind, rest)
  if (kind === 'conflict') return { kind }
  if (kind === 'replayed') {
    const [known, flat] = rest as [Buffer, Buffer[]]
    return { kind, id: known.toString(), status: textOf(toRecord(flat)!, 'status') as JobStatus }
  }
  const status = textOf(completeRecord(submitted.record, kind, rest as Buffer[], job), 'status') as JobStatus
  return { kind: 'created', id, status }
}

/** Joins each call's intent (`n`) with its end (`n:end`). */
function toAttempts(fields: Record<string, string>): Attempt[] {
  return Object.keys(fields)
    .filter((name) => !name.endsWith(':end'))
    .map(Number)
    .sort((a, b) => a - b)
    .map((call) => {
      const begun = JSON.parse(fields[call]!)
      const ended = JSON.parse(fields[`${call}:end`] ?? '{}')
      return {
        attempt: call,
        provider: begun.provider,
        model: begun.model,
        started_at: isoTime(begun.started_at),
        latency_ms: ended.latency_ms ?? null,
        outcome: ended.outcome ?? 'running',
        status: ended.status ?? null,
        error_code: ended.error_code ?? null,
        usage: ended.usage ?? null,
        cost_usd: ended.cost_usd ?? null,
        waited_ms: begun.waited_ms,
        waited_for: begun.waited_for ?? null,
        ambiguous: ended.ambiguous ?? false,
        coalesced: begun.coalesced ?? 1,
      }
    })
}
