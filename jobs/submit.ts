import { longWorkTurn } from '../lib/breathe.ts'
import type { Emit } from '../lib/emitter.ts'
import { takesFiles } from '../lib/input-files.ts'
import { hasLargeSource } from '../lib/json-source.ts'
import { encodeGate, joinCreates } from './create-script.ts'
import type { DirectPlan } from './direct-plan.ts'
import type { Dispatch } from './dispatch.ts'
import { gatherCalls } from './gather-calls.ts'
import { createKnownGroupBudgets } from './group-budgets.ts'
import { type Job, JobStatus } from './job.ts'
import type { BulkOutcome, CreateOutcome, Jobs } from './jobs.ts'
import type { Keyspace } from './keyspace.ts'
import type { MemoryAdmission } from './memory-admission.ts'
import type { ModelBound } from './model-bound.ts'
import { entryOf, isForLater } from './new-entry.ts'
import type { NewJob } from './new-job.ts'
import type { QueueAdmission } from './queue-admission.ts'
import type { QueueEntry } from './queue-entry.ts'
import type { Reader } from './read.ts'
import { isoTime, textOf, toJob, toRecord } from './record.ts'
import type { ReplyInbox } from './reply-inbox.ts'
import { type PreparedJob, prepare, type Submitted } from './submission.ts'
import {
  completeRecord,
  isRefused,
  type SubmissionEvent,
  toRefusal,
  toSubmissionEvent,
} from './submission-outcome.ts'

/** A client that is refused for lack of memory may try again after this, ms. */
const MEMORY_SHORT_MS = 5000

/** Most jobs that one script accepts, and most bytes of their bodies together. */
const MOST_CREATED = 16
const MOST_CREATED_BYTES = 256 * 1024

/** A job is given up if the budgets of its group change this often while it is submitted. */
const MOST_BUDGET_CHANGES = 5

/** What submitting needs. The job store provides it (service.ts). */
export type SubmitDeps = {
  keyspace: Keyspace
  admission: Admission
  dispatch: Dispatch
  reader: Reader
  /**
   * The job with what is known about the files that its body names: digests and seconds of sound. Throws `InputError`.
   */
  describeInputs: (job: NewJob) => Promise<NewJob>
  newId: () => string
  /** Finds a job that Redis no longer has; null: there is no history. */
  findMoved: ((root: string, id: string) => Promise<Job | null>) | null
  /** Hears the outcome of each submission; null: no listener. */
  events: Emit<{ 'job.submitted': SubmissionEvent }> | null
  now: () => number
  onError: (error: unknown, what: string) => void
}

/** Decides whether new work is accepted. */
export type Admission = { queue: QueueAdmission; memory: MemoryAdmission; models: ModelBound }

/** Accepts jobs. One script stores those that arrive together, and answers each of them. */
export function createSubmit(deps: SubmitDeps): Pick<Jobs, 'create' | 'createMany'> {
  const { keyspace, admission, dispatch, reader } = deps
  const { redis, scripts, rootOf, atRest } = keyspace
  const { outbox } = dispatch
  const groupBudgets = createKnownGroupBudgets()

  /**
   * Runs the create script. One script takes the jobs of one tenant that arrive in one turn of the event loop. If it
   * starts their calls, they are also of one lane.
   */
  const gathered = gatherCalls({
    keyOf: ({ job, direct }: PreparedJob) => (direct?.start ? `${job.tenant} ${job.lane}` : job.tenant),
    run: async (prepared) => {
      const { job, direct } = prepared[0]!
      const root = rootOf(job.tenant)
      const args = joinCreates(prepared)
      const gate = direct?.start ? encodeGate(direct.start) : null
      const answers =
        gate === null
          ? scripts.run('create', root, args)
          : scripts.runWithKeys('create-and-start', { root, keys: gate.keys, args: [...gate.args, ...args] })
      return (await answers) as [Buffer, ...unknown[]][]
    },
    most: MOST_CREATED,
    size: { of: ({ record }) => record.get('body')!.length, most: MOST_CREATED_BYTES },
    within: 'turn',
  })

  /** How jobs whose clients wait go straight to workers; null for a job that goes through its lane's queue. */
  function planDirect(jobs: readonly NewJob[]): Promise<(DirectPlan | null)[]> | null {
    const { openLanes, planStart } = dispatch
    if (openLanes === null || !jobs.some(isUrgent)) return null
    return Promise.all(
      jobs.map(async (job): Promise<DirectPlan | null> => {
        const worker = isUrgent(job) ? openLanes.pick(job.lane) : null
        if (worker === null) return null
        const mayStart = planStart !== null && worker.takesStarted
        return { worker, start: mayStart ? await planStart(job) : null }
      }),
    )
  }

  /**
   * If the budgets of the job's group are not those that were known here, the job is prepared again and submitted
   * again.
   */
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
    throw new Error("the budgets of the job's group change too often")
  }

  type Awaited = { id: string; replyTo: string }
  type Unsent = { job: NewJob; error: unknown }
  type Settled = Submitted | Unsent

  /** Looks at the files that bodies name. Most bodies name none. */
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
    // If there is no room, the script still answers repeated requests, and refuses the rest.
    const [isFull, isShort, tooMany] = await Promise.all([
      admission.queue.isFull(),
      admission.memory.isShort(),
      admission.models.findRefused(jobs),
    ])
    const direct = await planDirect(jobs)
    const prepareOne = (job: NewJob, plan: DirectPlan | null, known?: PreparedJob) => {
      const limits = isFull || isShort || tooMany.has(job) ? { ...job.limits, maxQueued: 0 } : job.limits
      const root = rootOf(job.tenant)
      return prepare({
        ...{ atRest, root, direct: plan, isBrief },
        asked: { ...job, limits },
        id: known?.id ?? awaited?.id ?? job.id ?? deps.newId(),
        retainMs: keyspace.retainMs(),
        replyTo: awaited?.replyTo ?? null,
        groupBudgets: groupBudgets.get(root, job.group),
        now: deps.now(),
      })
    }
    // Hashing and packing a large body takes a whole turn of the event loop.
    if (jobs.some(({ body }) => hasLargeSource(body))) await longWorkTurn()
    const prepared = described.map((one, index): ReturnType<typeof prepareOne> | Unsent => {
      if ('error' in one) return one
      const job = one
      try {
        return prepareOne(job, direct?.[index] ?? null)
      } catch (error) {
        return { job, error }
      }
    })
    const sent = prepared.flatMap((one) => ('error' in one ? [] : [one]))
    const created = sent.map((one) => createOne(one, (known) => prepareOne(one.asked, one.direct, known)))
    const answers = (await Promise.allSettled(created)).values()
    admission.queue.fill(jobs.length)
    await keyspace.confirm?.()
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

  return {
    async create(job) {
      const { replyInbox } = dispatch
      const submitted = replyInbox && job.isAwaited ? await submitAwaited(job, replyInbox) : await submit(job)
      const outcome = (await toOutcome(submitted)) ?? (await submitAsNew(job, submitted))
      if (outcome.kind === 'created' && !job.isAwaited) await forecast(outcome.job, submitted.job)
      return outcome
    },

    async createMany(jobs) {
      if (jobs.length === 0) return []
      // An error before anything is sent fails all jobs.
      const settled = await submitEach(jobs, { isBrief: true }).catch((error) =>
        jobs.map((job): Settled => ({ job, error })),
      )
      // The jobs are accepted even if the queue cannot take them now: the sweep queues what is in the outbox.
      await outbox
        .dispatch(settled.flatMap((one) => ('kind' in one && one.kind === 'created' ? entriesOf(one) : [])))
        .catch((error) => deps.onError(error, 'queueing jobs'))
      return settled.map((one) =>
        'error' in one ? { kind: 'failed', error: one.error } : toBulkOutcome(one),
      )
    },
  }

  /** The queue entries of a new job. A scheduled job has none: the maintainer queues it when it is due. */
  function entriesOf(created: Submitted): QueueEntry[] {
    const entry = entryOf(created, timeOf(created))
    if (entry.notBefore === null) return [entry]
    dispatch.dueTimers?.note(entry.tenant, entry.notBefore)
    return []
  }

  /** Forecasts when a new job starts. If that fails, the job has no forecast. */
  async function forecast(job: Job, { tenant, lane, priority, gather, cost }: NewJob): Promise<void> {
    if (gather !== undefined) return
    if (job.status === JobStatus.scheduled) job.estimated_start_at = job.run_at
    // A parked job has no place in its lane's queue yet.
    if (job.status !== JobStatus.queued || job.waiting_for === 'fair_key') return
    try {
      const newcomer = { tenant, band: priority, fairKey: cost.fairKey }
      const { startAt, waitingFor } = await dispatch.forecaster.newcomer(lane, newcomer)
      job.estimated_start_at = startAt === null ? null : isoTime(startAt)
      job.waiting_for = waitingFor
    } catch (error) {
      deps.onError(error, 'forecasting a job')
    }
  }

  /** The idempotency key names a job that neither Redis nor the history has any more. So the job counts as new. */
  async function submitAsNew(job: NewJob, { rest }: Submitted): Promise<CreateOutcome> {
    const key = `${rootOf(job.tenant)}:idempotency:${job.idempotencyKey}`
    if ((await redis.hget(key, 'id')) === String(rest[0])) await redis.hdel(key, 'moved')
    const outcome = await toOutcome(await submit(job))
    if (outcome === null) throw new Error(`the job ${rest[0]} was deleted while it was asked for`)
    return outcome
  }

  /** Null: see `submitAsNew`. */
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
        const job = (await deps.findMoved?.(root, known.toString())) ?? null
        return job && { kind: 'replayed', job }
      }
      const [whole] = await reader.answers.complete(root, [record])
      // The job may have been deleted meanwhile, but it existed when the client asked.
      return { kind: 'replayed', job: toJob(known.toString(), whole ?? record, view) }
    }
    if (kind === 'created') {
      // The job is durable: its record and its outbox entry exist. If the queue cannot take it now, or the worker that
      // got it makes no call, the sweep queues it.
      const [, heard] = rest as [Buffer, number]
      if (heard === 0)
        outbox.dispatch(entriesOf(submitted)).catch((error) => deps.onError(error, 'queueing a job'))
    }
    const record = completeRecord(submitted, kind, rest as Buffer[])
    const [whole] = await reader.answers.complete(root, [record])
    return { kind: 'created', job: toJob(id, whole ?? record, view) }
  }
}

/** Whether a client waits for the job, and the job may start at once. */
function isUrgent(job: NewJob): boolean {
  return job.isAwaited === true && !isForLater(job) && job.gather === undefined
}

/** When a job was created, from the script's answer. */
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
