import { longWorkTurn } from '../lib/breathe.ts'
import type { Emit } from '../lib/emitter.ts'
import { takesFiles } from '../lib/input-files.ts'
import { hasLargeSource } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import { UnreadableError } from '../lib/sealer.ts'
import type { AtRest } from './at-rest.ts'
import { readAttempts } from './attempts.ts'
import { createCancelMany } from './cancel-many.ts'
import type { DueTimers } from './due-timers.ts'
import { hashInputs } from './embedding-cache.ts'
import { exportFailed } from './export-failed.ts'
import { createFailures } from './failures.ts'
import { followGroup, followJob } from './follow.ts'
import { gatherCalls } from './gather-calls.ts'
import { createKnownGroupBudgets } from './group-budgets.ts'
import { createGroups } from './groups.ts'
import { type Job, type JobEvent, JobStatus } from './job.ts'
import type { BulkOutcome, CreateOutcome, Following, Jobs, NewJob } from './jobs.ts'
import { abortChannel, groupKey, tenantRoot } from './keys.ts'
import { listJobs } from './list.ts'
import type { MemoryAdmission } from './memory-admission.ts'
import { createModelBound } from './model-bound.ts'
import type { OpenLanes } from './open-lanes.ts'
import type { Outbox } from './outbox.ts'
import type { PubSub } from './pubsub.ts'
import type { QueueEntry, Queues } from './queue.ts'
import type { QueueAdmission } from './queue-admission.ts'
import { createReader, type Forecaster } from './read.ts'
import { bodyOf, isoTime, type ResultRenderer, textOf, toJob, toRecord } from './record.ts'
import { createRedrive } from './redrive.ts'
import type { ReplyInbox } from './reply-inbox.ts'
import type { Scripts } from './scripts.ts'
import {
  completeRecord,
  entryOf,
  isForLater,
  isRefused,
  type PreparedJob,
  prepare,
  type SubmissionEvent,
  type Submitted,
  toRefusal,
  toSubmissionEvent,
} from './submission.ts'
import { waitForJob } from './wait.ts'

/** A client that is refused for lack of memory may try again after this, ms. */
const MEMORY_SHORT_MS = 5000

/** Most jobs that one script accepts, and most bytes of their bodies together. */
const MOST_CREATED = 16
const MOST_CREATED_BYTES = 256 * 1024

/** Budgets of a group that change so often while one job is submitted are not waited for. */
const MOST_BUDGET_CHANGES = 5

/** What jobs need of the webhook store, which implements it. */
export type Deliveries = Pick<Jobs, 'redeliver'> & {
  list(tenant: string, jobId: string): ReturnType<Jobs['deliveries']>
}

/** What the store needs of a history. `root` is a tenant's. */
export type HistorySide = {
  /** A job that Redis does not have any more; null: nor has the history. */
  find(root: string, id: string): Promise<Job | null>
  /** A job goes on in Redis that the history may have as it ended before, at `endedAt` (Unix ms). */
  onAgain(root: string, id: string, endedAt: number): void
}

type Deps = {
  redis: RedisClient
  scripts: Scripts
  queues: Queues
  outbox: Outbox
  pubsub: PubSub
  prefix: string
  retainMs: () => number
  atRest: AtRest
  render: ResultRenderer
  deliveries: Deliveries
  /** The job with what its files are, where its body names any. Throws `InputError`. */
  describeInputs: (job: NewJob) => Promise<NewJob>
  /** Removes the tenant's files that no job holds any more. */
  sweepFiles: (tenant: string) => Promise<unknown>
  forecaster: Forecaster
  queueAdmission: QueueAdmission
  memoryAdmission: MemoryAdmission
  /** Resolves when all earlier writes are on disk. Without it nothing waits for the disk. */
  confirm?: () => Promise<void>
  /** For awaited jobs; null: their ends are read like those of any other job. */
  replyInbox: ReplyInbox | null
  /** Null: every job goes through its lane's queue. */
  openLanes: OpenLanes | null
  /** Learns when the jobs scheduled in this process are due. */
  dueTimers?: Pick<DueTimers, 'note'>
  newId: () => string
  /** What moves on to a history, and what that knows; null: there is none. */
  history: HistorySide | null
  /** Hears the outcome of each submission. */
  events?: Emit<{ 'job.submitted': SubmissionEvent }>
  now: () => number
  onError: (error: unknown, what: string) => void
}

/** The API's side of the job store; the workers' side is work.ts. */
export function createJobs(deps: Deps): Jobs {
  const { redis, scripts, queues, outbox, pubsub, prefix, atRest, render } = deps
  const rootOf = (tenant: string) => tenantRoot(prefix, tenant)

  const reader = createReader({ redis, queues, forecaster: deps.forecaster, atRest, render })
  const groups = createGroups({ redis, reader, rootOf })
  const groupBudgets = createKnownGroupBudgets()
  const models = createModelBound({ redis, scripts, rootOf })
  const failures = createFailures({
    ...{ redis, rootOf, now: deps.now },
    withoutCopied: deps.history !== null,
  })
  const redriving = createRedrive({
    ...{ redis, scripts, outbox, rootOf },
    retainMs: deps.retainMs,
    onAgain: deps.history?.onAgain ?? null,
    onError: deps.onError,
  })
  const cancelMany = createCancelMany({
    ...{ redis, scripts, queues, outbox, rootOf },
    retainMs: deps.retainMs,
    abort: (tenant, id) => redis.publish(abortChannel(prefix), `${tenant} ${id}`),
    onError: deps.onError,
  })
  const read = (tenant: string, id: string) => reader.one(rootOf(tenant), id)

  const statuses: Jobs['statuses'] = async (tenant, ids) => {
    if (ids.length === 0) return []
    const answer = (await scripts.run('statuses', rootOf(tenant), [...ids])) as Buffer[]
    return answer.map((status) => (status.length === 0 ? null : (status.toString() as JobStatus)))
  }

  /** Runs the create script. One script takes the jobs of one tenant that arrive together. */
  const gathered = gatherCalls({
    keyOf: ({ job }: PreparedJob) => job.tenant,
    run: async (prepared) =>
      (await scripts.run(
        'create',
        rootOf(prepared[0]!.job.tenant),
        prepared.flatMap(({ args }) => [args.length, ...args]),
      )) as [Buffer, ...unknown[]][],
    most: MOST_CREATED,
    size: { of: ({ record }) => record.get('body')!.length, most: MOST_CREATED_BYTES },
    within: 'tick',
  })

  /** Where the budgets of its group are others than were known here, the job is prepared and handed in again. */
  async function createOne(
    first: PreparedJob,
    prepareAgain: (prepared: PreparedJob) => PreparedJob,
  ): Promise<[Buffer, ...unknown[]]> {
    let prepared = first
    for (let changes = 0; changes < MOST_BUDGET_CHANGES; changes++) {
      const answer = await gathered(prepared)
      const kind = answer[0].toString()
      if (kind === 'failed') throw new Error(`the create script: ${answer[1]}`)
      if (kind !== 'group_budgets') return answer
      groupBudgets.learn(rootOf(first.job.tenant), first.job.group!, String(answer[1]))
      prepared = prepareAgain(prepared)
    }
    throw new Error('the budgets of the group of a job change all the time')
  }

  type Awaited = { id: string; replyTo: string }
  type Unsent = { job: NewJob; error: unknown }
  type Settled = Submitted | Unsent

  /** Looks at the files that bodies name, which most do not. */
  function describeEach(jobs: NewJob[]): Promise<(NewJob | Unsent)[]> | (NewJob | Unsent)[] {
    if (!jobs.some(({ type }) => takesFiles(type))) return jobs
    return Promise.all(
      jobs.map((job) => deps.describeInputs(job).catch((error: unknown): Unsent => ({ job, error }))),
    )
  }

  /** Runs the create script for all jobs in one round trip. A job that fails does not fail the others. */
  async function submitEach(
    asked: NewJob[],
    { awaited = null, isBrief = false }: { awaited?: Awaited | null; isBrief?: boolean } = {},
  ): Promise<Settled[]> {
    const described = await describeEach(asked)
    const jobs = described.map((one) => ('error' in one ? one.job : one))
    // Without room the script still answers replays, and refuses the rest.
    const [isFull, isShort, tooMany] = await Promise.all([
      deps.queueAdmission.isFull(),
      deps.memoryAdmission.isShort(),
      models.findRefused(jobs),
    ])
    const prepareOne = (job: NewJob, known?: PreparedJob) => {
      const limits = isFull || isShort || tooMany.has(job) ? { ...job.limits, maxQueued: 0 } : job.limits
      const id = known?.id ?? awaited?.id ?? job.id ?? deps.newId()
      const isUrgent = job.isAwaited && !isForLater(job) && job.gather === undefined
      const workerChannel = isUrgent ? deps.openLanes?.pick(job.lane) : null
      const root = rootOf(job.tenant)
      const replyTo = awaited?.replyTo ?? null
      return prepare(
        atRest,
        root,
        { ...job, limits },
        id,
        deps.retainMs(),
        replyTo,
        workerChannel ?? null,
        isBrief,
        groupBudgets.get(root, job.group),
        deps.now(),
      )
    }
    // Hashing and packing a large body takes a whole turn of the event loop.
    if (jobs.some(({ body }) => hasLargeSource(body))) await longWorkTurn()
    const prepared = described.map((one): ReturnType<typeof prepareOne> | Unsent => {
      if ('error' in one) return one
      const job = one
      try {
        return prepareOne(job)
      } catch (error) {
        return { job, error }
      }
    })
    const sent = prepared.flatMap((one) => ('error' in one ? [] : [one]))
    const created = sent.map((one) => createOne(one, (known) => prepareOne(one.asked, known)))
    const answers = (await Promise.allSettled(created)).values()
    deps.queueAdmission.fill(jobs.length)
    await deps.confirm?.()
    const settled = prepared.map((one, index): Settled => {
      if ('error' in one) return one
      const answered = answers.next().value!
      if (answered.status === 'rejected') return { job: one.job, error: answered.reason }
      const [answer, ...rest] = answered.value
      const kind = answer.toString() as Submitted['kind']
      if (isShort && kind === 'queue_full') return { ...one, kind: 'memory_short', rest: [MEMORY_SHORT_MS] }
      const laneWaitMs = tooMany.get(jobs[index]!)
      if (laneWaitMs !== undefined && kind === 'queue_full')
        return { ...one, kind: 'lanes_full', rest: [laneWaitMs] }
      return { ...one, kind, rest }
    })
    for (const one of settled)
      if (!('error' in one)) deps.events?.emit('job.submitted', toSubmissionEvent(one))
    return settled
  }

  async function submit(job: NewJob, awaited: Awaited | null = null): Promise<Submitted> {
    const [settled] = await submitEach([job], { awaited })
    if ('error' in settled!) throw settled.error
    return settled!
  }

  /** Creates a job and expects the message of its end, which may arrive before the answer to this. */
  async function submitAwaited(job: NewJob, replyInbox: ReplyInbox): Promise<Submitted> {
    const id = deps.newId()
    replyInbox.expect(id, rootOf(job.tenant))
    try {
      const submitted = await submit(job, { id, replyTo: await replyInbox.open() })
      const { kind, rest } = submitted
      if (kind === 'created' || kind === 'parked' || kind === 'shared') {
        replyInbox.complete(id, completeRecord(submitted, kind, rest as Buffer[]))
      } else replyInbox.forget(id)
      return submitted
    } catch (error) {
      replyInbox.forget(id)
      throw error
    }
  }

  /** After a cancel or a removal: removes the entry, aborts the call, queues the promoted job. */
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
    // The entry of a running job stays until its call ends. If the worker dies, the entry leads to the job and to the
    // followers of its call.
    if (was?.toString() === JobStatus.running) return
    // A worker would skip an ended job anyway; removing the entry saves its lane that step.
    queues.remove(lane, id, entry).catch((error) => deps.onError(error, 'removing a queue entry'))
  }

  async function laneAndEntry(tenant: string, id: string): Promise<[string, number]> {
    const [lane, entry] = await redis.hmget(`${rootOf(tenant)}:job:${id}`, 'lane', 'entries')
    return [lane ?? '', Number(entry ?? 0)]
  }

  /** Digests under which the answers to the single inputs of an embedding job are cached. */
  async function inputsOf(tenant: string, id: string, lane: string): Promise<string[]> {
    const key = `${rootOf(tenant)}:job:${id}`
    if ((await redis.hget(key, 'type')) !== 'embedding') return []
    const body = await redis.hgetBuffer(key, 'body')
    if (body === null) return []
    try {
      const hashes = hashInputs(lane, atRest.openBody(rootOf(tenant), id, body)) ?? []
      return hashes.flatMap((hash) => atRest.digests(hash))
    } catch (error) {
      // A process that cannot read the request cannot read the answers either.
      if (error instanceof UnreadableError) return []
      throw error
    }
  }

  return {
    async create(job) {
      const { replyInbox } = deps
      const submitted = replyInbox && job.isAwaited ? await submitAwaited(job, replyInbox) : await submit(job)
      const outcome = (await toOutcome(submitted)) ?? (await submitAnew(job, submitted))
      if (outcome.kind === 'created' && !job.isAwaited) await forecast(outcome.job, submitted.job)
      return outcome
    },

    async createMany(jobs) {
      if (jobs.length === 0) return []
      // An error before anything is sent fails all jobs.
      const settled = await submitEach(jobs, { isBrief: true }).catch((error) =>
        jobs.map((job): Settled => ({ job, error })),
      )
      // The jobs are accepted even if the queue cannot take them now: the sweeper queues what is in the outbox.
      await outbox
        .dispatch(settled.flatMap((one) => ('kind' in one && one.kind === 'created' ? entriesOf(one) : [])))
        .catch((error) => deps.onError(error, 'queueing jobs'))
      return settled.map((one) =>
        'error' in one ? { kind: 'failed', error: one.error } : toBulkOutcome(one),
      )
    },

    models: models.list,

    get: read,

    async getMany(tenant, ids) {
      const root = rootOf(tenant)
      const records = await reader.records(root, ids)
      const found = ids.flatMap((id, index) => (records[index] ? [{ id, record: records[index] }] : []))
      const known = new Map((await reader.jobs(root, found)).map((job) => [job.id, job]))
      return ids.map((id) => known.get(id) ?? null)
    },

    outcomes: (tenant, ids) => reader.outcomes(rootOf(tenant), ids),

    async getRequest(tenant, id) {
      const root = rootOf(tenant)
      const [record] = await reader.records(root, [id])
      if (!record) return null
      const [job] = await reader.jobs(root, [{ id, record }])
      return {
        job: job!,
        body: bodyOf(id, record, reader.view(root)),
        previousResponseId: textOf(record, 'previous_response_id'),
        cursor: textOf(record, 'run_from') ?? '',
      }
    },

    wait: (tenant, id, timeoutMs, signal) =>
      waitForJob(
        { redis, pubsub, reader, replyInbox: deps.replyInbox },
        rootOf(tenant),
        id,
        timeoutMs,
        signal,
      ),

    list: (tenant, filter, limit, options = {}) =>
      listJobs({ redis, scripts, reader }, rootOf(tenant), filter, limit, options),

    attempts: (tenant, id) => readAttempts(redis, rootOf(tenant), id),

    async cancel(tenant, id) {
      const [lane, entry] = await laneAndEntry(tenant, id)
      const answer = (await scripts.run('cancel', rootOf(tenant), [id, deps.retainMs()])) as Buffer[]
      const kind = answer[0]!.toString()
      if (kind === 'none') return null
      if (kind === 'cancelled') await release(tenant, id, lane, entry, answer)
      const job = await read(tenant, id)
      return job && { kind: kind as 'cancelled' | 'terminal', job }
    },

    cancelMany,

    async retry(tenant, id) {
      const kind = await redriving.retry(tenant, id)
      if (kind === 'none') return null
      const job = await read(tenant, id)
      return job && { kind: kind === 'not_retryable' || kind === 'budget_exhausted' ? kind : 'retried', job }
    },

    redrive: redriving.redrive,
    failures: failures.count,
    failed: (tenant, filter, limit, signal) =>
      exportFailed({ redis, reader, atRest }, rootOf(tenant), filter, limit, signal),

    async remove(tenant, id) {
      const [lane, entry] = await laneAndEntry(tenant, id)
      const inputs = await inputsOf(tenant, id, lane)
      const answer = (await scripts.run('remove', rootOf(tenant), [id, ...inputs])) as Buffer[]
      if (answer[0]!.toString() === 'none') return false
      await release(tenant, id, lane, entry, answer)
      // Deleted means gone. What fails here, the maintainer does within a minute.
      if (answer[4]!.toString() === '1') {
        await deps.sweepFiles(tenant).catch((error) => deps.onError(error, 'removing the files of a job'))
      }
      return true
    },

    group: groups.one,
    groups: groups.list,

    statuses,

    async countOpen(tenant, group) {
      const key = groupKey(rootOf(tenant), group)
      const counts = await redis.hmget(key, JobStatus.scheduled, JobStatus.queued, JobStatus.running)
      return counts.reduce((sum, count) => sum + Number(count ?? 0), 0)
    },

    async follow(tenant, id, cursor, signal) {
      const root = rootOf(tenant)
      const goOn = (after: string) => followJob({ redis, pubsub, reader }, root, id, after, signal)
      const told =
        cursor === '' ? deps.replyInbox?.follow(id, root, signal, (after) => flatten(goOn(after))) : null
      return told ? { finished: false, events: told } : goOn(cursor)
    },
    followGroup: (tenant, group, cursor, signal) =>
      followGroup({ redis, pubsub, reader }, rootOf(tenant), group, cursor, signal),

    takeSubmission: async (tenant, perMinute) =>
      Number(await scripts.run('submission', rootOf(tenant), [perMinute])),

    async deliveries(tenant, jobId) {
      const [status] = await statuses(tenant, [jobId])
      return status ? deps.deliveries.list(tenant, jobId) : null
    },
    redeliver: (tenant, deliveryId) => deps.deliveries.redeliver(tenant, deliveryId),
  }

  /** The queue entries of a new job: none for a scheduled job, which the maintainer queues when it is due. */
  function entriesOf(created: Submitted): QueueEntry[] {
    const entry = entryOf(created, timeOf(created))
    if (entry.notBefore === null) return [entry]
    deps.dueTimers?.note(entry.tenant, entry.notBefore)
    return []
  }

  /** Forecasts when a new job starts. A failed forecast leaves it out. */
  async function forecast(job: Job, { tenant, lane, priority, gather, cost }: NewJob): Promise<void> {
    if (gather !== undefined) return
    if (job.status === JobStatus.scheduled) job.estimated_start_at = job.run_at
    // A parked one has no place in its lane's queue yet.
    if (job.status !== JobStatus.queued || job.waiting_for === 'fair_key') return
    try {
      const { startAt, waitingFor } = await deps.forecaster.newcomer(lane, tenant, priority, cost.fairKey)
      job.estimated_start_at = startAt === null ? null : isoTime(startAt)
      job.waiting_for = waitingFor
    } catch (error) {
      deps.onError(error, 'forecasting a job')
    }
  }

  /** Its key names a job that neither Redis nor the history has any more: it is as new. */
  async function submitAnew(job: NewJob, { rest }: Submitted): Promise<CreateOutcome> {
    const key = `${rootOf(job.tenant)}:idempotency:${job.idempotencyKey}`
    if ((await redis.hget(key, 'id')) === String(rest[0])) await redis.hdel(key, 'moved')
    const outcome = await toOutcome(await submit(job))
    if (outcome === null) throw new Error(`the job ${rest[0]} was deleted while it was asked for`)
    return outcome
  }

  /** Null: see `submitAnew`. */
  async function toOutcome(submitted: Submitted): Promise<CreateOutcome | null> {
    const { kind, rest, id } = submitted
    const root = rootOf(submitted.job.tenant)
    const view = reader.view(root)
    if (isRefused(kind)) return toRefusal(kind, rest)
    if (kind === 'conflict') return { kind }
    if (kind === 'replayed') {
      const [known, flat] = rest as [Buffer, Buffer[]]
      const record = toRecord(flat)
      if (record === null) {
        const job = (await deps.history?.find(root, known.toString())) ?? null
        return job && { kind: 'replayed', job }
      }
      const [whole] = await reader.answers.complete(root, [record])
      // It may have been deleted meanwhile, but it existed when the client asked.
      return { kind: 'replayed', job: toJob(known.toString(), whole ?? record, view) }
    }
    if (kind === 'created') {
      // The job is durable: its record and its outbox entry exist. If the queue cannot take it now, or the worker that got
      // it makes no call, the sweeper queues it.
      const [, heard] = rest as [Buffer, number]
      if (heard === 0)
        outbox.dispatch(entriesOf(submitted)).catch((error) => deps.onError(error, 'queueing a job'))
    }
    const record = completeRecord(submitted, kind, rest as Buffer[])
    const [whole] = await reader.answers.complete(root, [record])
    return { kind: 'created', job: toJob(id, whole ?? record, view) }
  }
}

/** When a job was created, by the script's answer. */
function timeOf({ rest }: Submitted): number {
  return Number(String(rest[0]))
}

function toBulkOutcome(submitted: Submitted): BulkOutcome {
  const { kind, id, rest } = submitted
  if (isRefused(kind)) return toRefusal(kind, rest)
  if (kind === 'conflict') return { kind }
  if (kind === 'replayed') {
    const [known, flat] = rest as [Buffer, Buffer[]]
    return { kind, id: known.toString(), status: textOf(toRecord(flat)!, 'status') as JobStatus }
  }
  const status = textOf(completeRecord(submitted, kind, rest as Buffer[]), 'status') as JobStatus
  return { kind: 'created', id, status }
}

async function* flatten(following: Promise<Following | null>): AsyncGenerator<JobEvent> {
  const found = await following
  if (found) yield* found.events
}
