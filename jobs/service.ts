import { readAttempts } from './attempts.ts'
import { createCancelMany } from './cancel-many.ts'
import type { Dispatch } from './dispatch.ts'
import type { MovedEvents } from './event-source.ts'
import { exportFailed } from './export-failed.ts'
import { createFailures } from './failures.ts'
import { followGroup, followJob } from './follow.ts'
import { createGroups } from './groups.ts'
import { type Job, type JobEvent, JobStatus } from './job.ts'
import type { Following, Jobs } from './jobs.ts'
import { abortChannel, groupKey } from './keys.ts'
import type { Keyspace } from './keyspace.ts'
import { listJobs } from './list.ts'
import { createModelBound } from './model-bound.ts'
import type { PubSub } from './pubsub.ts'
import type { Queues } from './queue.ts'
import { createReader } from './read.ts'
import { bodyOf, type ResultRenderer, textOf } from './record.ts'
import { createRedrive } from './redrive.ts'
import { createRemoval } from './removal.ts'
import { type Admission, createSubmit, type SubmitDeps } from './submit.ts'
import { waitForJob } from './wait.ts'

/** What jobs need from the webhook store, which implements it. */
export type Deliveries = Pick<Jobs, 'redeliver'> & {
  list(tenant: string, jobId: string): ReturnType<Jobs['deliveries']>
}

/** What the job store needs from a history. `root` is a tenant's. */
export type HistorySide = {
  /** A job that Redis no longer has; null: the history does not have it either. */
  find(root: string, id: string): Promise<Job | null>
  /** A job continues in Redis. The history may have it as it ended before, at `endedAt` (Unix ms). */
  onAgain(root: string, id: string, endedAt: number): void
  movedEvents: MovedEvents
}

export type JobsDeps = Pick<SubmitDeps, 'newId' | 'events' | 'now' | 'onError'> & {
  keyspace: Keyspace & { prefix: string }
  admission: Omit<Admission, 'models'>
  dispatch: Dispatch
  queues: Queues
  pubsub: PubSub
  render: ResultRenderer
  files: {
    /**
     * The job with what is known about the files that its body names: digests and seconds of sound. Throws
     * `InputError`.
     */
    describeInputs: SubmitDeps['describeInputs']
    /** Removes the tenant's files that no job holds any more. */
    sweep: (tenant: string) => Promise<unknown>
  }
  deliveries: Deliveries
  /** What ended jobs are copied to; null: there is no history. */
  history: HistorySide | null
}

/** The API's side of the job store; the workers' side is work.ts. */
export function createJobs(deps: JobsDeps): Jobs {
  const { keyspace, dispatch, queues, pubsub, render } = deps
  const { redis, scripts, prefix, rootOf, atRest, retainMs } = keyspace
  const { outbox, forecaster, replyInbox } = dispatch

  const reader = createReader({ redis, queues, forecaster, atRest, render })
  const groups = createGroups({ redis, reader, rootOf })
  const models = createModelBound({ redis, scripts, rootOf })
  const failures = createFailures({
    ...{ redis, rootOf, now: deps.now },
    withoutCopied: deps.history !== null,
  })
  const redriving = createRedrive({
    ...{ redis, scripts, outbox, rootOf },
    retainMs,
    onAgain: deps.history?.onAgain ?? null,
    onError: deps.onError,
  })
  const abort = (tenant: string, id: string) => redis.publish(abortChannel(prefix), `${tenant} ${id}`)
  const cancelMany = createCancelMany({
    ...{ redis, scripts, queues, outbox, rootOf },
    retainMs,
    abort,
    onError: deps.onError,
  })
  const read = (tenant: string, id: string) => reader.one(rootOf(tenant), id)
  const submitting = createSubmit({
    ...deps,
    admission: { ...deps.admission, models },
    reader,
    describeInputs: deps.files.describeInputs,
    findMoved: deps.history?.find ?? null,
  })
  const removal = createRemoval({
    ...{ keyspace, queues, outbox, abort, read },
    sweepFiles: deps.files.sweep,
    onError: deps.onError,
  })

  const statuses: Jobs['statuses'] = async (tenant, ids) => {
    if (ids.length === 0) return []
    const answer = (await scripts.run('statuses', rootOf(tenant), [...ids])) as Buffer[]
    return answer.map((status) => (status.length === 0 ? null : (status.toString() as JobStatus)))
  }

  return {
    ...submitting,
    ...removal,

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
      waitForJob({ redis, pubsub, reader, replyInbox }, rootOf(tenant), id, timeoutMs, signal),

    list: (tenant, filter, limit, options = {}) =>
      listJobs({ redis, scripts, reader }, rootOf(tenant), filter, limit, options),

    attempts: (tenant, id) => readAttempts(redis, rootOf(tenant), id),

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
      const awaited =
        cursor === '' ? replyInbox?.follow(id, root, signal, (after) => flatten(goOn(after))) : null
      return awaited ? { finished: false, events: awaited } : goOn(cursor)
    },
    followGroup: (tenant, group, cursor, signal) =>
      followGroup(
        { redis, pubsub, reader, movedEvents: deps.history?.movedEvents ?? null },
        rootOf(tenant),
        group,
        cursor,
        signal,
      ),

    takeSubmission: async (tenant, perMinute) =>
      Number(await scripts.run('submission', rootOf(tenant), [perMinute])),

    async deliveries(tenant, jobId) {
      const [status] = await statuses(tenant, [jobId])
      return status ? deps.deliveries.list(tenant, jobId) : null
    },
    redeliver: (tenant, deliveryId) => deps.deliveries.redeliver(tenant, deliveryId),
  }
}

async function* flatten(following: Promise<Following | null>): AsyncGenerator<JobEvent> {
  const found = await following
  if (found) yield* found.events
}
