import { createBreather } from '../lib/breathe.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type AnswerStore, createAnswerStore } from './answer-store.ts'
import type { AtRest } from './at-rest.ts'
import { type Job, JobStatus, type Priority, type WaitingFor } from './job.ts'
import type { JobOutcome } from './jobs.ts'
import { omitResult } from './omission.ts'
import type { Queues } from './queue.ts'
import type { Start } from './queue-entry.ts'
import {
  isoTime,
  type JobRecord,
  numberOf,
  type ResultRenderer,
  textOf,
  toJob,
  toRecord,
  type View,
} from './record.ts'
import { RESULT_FIELDS, type Summary } from './results.ts'
import { readSummaries } from './summary.ts'

/** When waiting jobs will start; ratelimit/forecaster.ts implements it. */
export type Forecaster = {
  /** The places of entries in their lane's queue; null where there is no entry. */
  entries(
    lane: string,
    positions: readonly ((Start & { band: Priority }) | null)[],
  ): Promise<{ startAt: number | null; waitingFor: WaitingFor | null }[]>
  /** The place of a job that is queued now. `fairKey`: the digest of its fair key; absent: none. */
  newcomer(
    lane: string,
    job: { tenant: string; band: Priority; fairKey?: string | undefined },
  ): Promise<{ startAt: number | null; waitingFor: WaitingFor | null }>
}

export type Reader = {
  /** What is needed to read a tenant's records. */
  view(root: string): View
  answers: AnswerStore
  /** One job in its present state; null: there is no such job. */
  one(root: string, id: string): Promise<Job | null>
  /** The jobs of these ids without their results. Jobs that are gone are left out. See `omitResult`. */
  summaries(root: string, ids: readonly string[]): Promise<Summary[]>
  /** Whole records with their results, in the order of the ids; null where there is no such job. */
  records(root: string, ids: readonly string[]): Promise<(JobRecord | null)[]>
  /** How jobs ended, in the order of the ids; null where there is no such job. */
  outcomes(root: string, ids: readonly string[]): Promise<(JobOutcome | null)[]>
  /** Jobs from their records. Those that wait get a forecast. */
  jobs(root: string, found: readonly { id: string; record: JobRecord }[]): Promise<Job[]>
}

/** The fields that tell how a job ended. */
const OUTCOME_FIELDS = ['status', 'created_at', 'deleted', 'cache', 'error', ...RESULT_FIELDS]

function toOutcome({ id, status, result, error }: Job): JobOutcome {
  return { id, status, result, error }
}

type Waiting = { job: Job; record: JobRecord }
type WaitingPlace = { job: Job; id: string; entry: number; lane: string; band: Priority }

export function createReader(deps: {
  redis: RedisClient
  queues: Pick<Queues, 'starts'>
  forecaster: Forecaster
  atRest: AtRest
  render: ResultRenderer
}): Reader {
  const { redis, queues, forecaster, atRest, render } = deps
  const view = (root: string): View => ({ root, atRest, render })
  const store = createAnswerStore({ redis })

  async function records(root: string, ids: readonly string[]): Promise<(JobRecord | null)[]> {
    const answers = await Promise.all(ids.map((id) => redis.hgetallBuffer(`${root}:job:${id}`)))
    return store.complete(
      root,
      answers.map((fields) => toRecord(Object.entries(fields).flat())),
    )
  }

  /** The queue entry of a waiting job: its own, or that of its leader, which may be in another lane by now. */
  async function placeOf(root: string, { job, record }: Waiting): Promise<WaitingPlace> {
    const leader = textOf(record, 'leader')
    if (leader === null) {
      return { job, id: job.id, entry: numberOf(record, 'entries') ?? 0, lane: job.lane, band: job.priority }
    }
    const [entry, lane, priority] = await redis.hmget(`${root}:job:${leader}`, 'entries', 'lane', 'priority')
    return {
      job,
      id: leader,
      entry: Number(entry ?? 0),
      lane: lane ?? job.lane,
      band: (priority ?? job.priority) as Priority,
    }
  }

  async function forecast(root: string, waiting: Waiting[]): Promise<void> {
    const places = await Promise.all(waiting.map((one) => placeOf(root, one)))
    for (const [lane, group] of Map.groupBy(places, (place) => place.lane)) {
      const starts = await queues.starts(lane, group)
      const forecasts = await forecaster.entries(
        lane,
        starts.map((start, index) => (start === null ? null : { ...start, band: group[index]!.band })),
      )
      for (const [index, { job }] of group.entries()) {
        const { startAt, waitingFor } = forecasts[index]!
        // The job's own reason to wait comes before the lane's.
        const notBefore = Math.max(
          Date.parse(job.next_attempt_at ?? job.run_at ?? job.created_at),
          startAt ?? 0,
        )
        if (startAt !== null || job.next_attempt_at !== null) job.estimated_start_at = isoTime(notBefore)
        job.waiting_for ??= waitingFor
      }
    }
  }

  async function jobs(root: string, found: readonly { id: string; record: JobRecord }[]): Promise<Job[]> {
    const all: Waiting[] = []
    const breathe = createBreather()
    for (const { id, record } of found) {
      all.push({ job: toJob(id, record, view(root)), record })
      // Results may be large.
      await breathe()
    }
    await forecast(
      root,
      all.filter(({ job }) => job.status === JobStatus.queued),
    )
    for (const { job } of all) if (job.status === JobStatus.scheduled) job.estimated_start_at = job.run_at
    return all.map(({ job }) => job)
  }

  return {
    view,
    answers: store,
    records,
    jobs,
    async outcomes(root, ids) {
      const read = (id: string) => redis.hmgetBuffer(`${root}:job:${id}`, ...OUTCOME_FIELDS)
      const found = await Promise.all(ids.map(read))
      const toOwnRecord = (values: (Buffer | null)[]) =>
        toRecord(OUTCOME_FIELDS.flatMap((name, field) => (values[field] ? [name, values[field]] : [])))
      const breathe = createBreather()
      const outcomes: (JobOutcome | null)[] = []
      for (const [at, record] of (await store.complete(root, found.map(toOwnRecord))).entries()) {
        outcomes.push(record === null ? null : toOutcome(toJob(ids[at]!, record, view(root))))
        // Results may be large.
        await breathe()
      }
      return outcomes
    },
    async summaries(root, ids) {
      const records = await readSummaries(redis, root, ids)
      const found = ids.flatMap((id, at) => (records[at] ? [{ id, record: records[at] }] : []))
      const read = await jobs(root, found)
      return read.map((job, at) => ({ job: omitResult(job), record: found[at]!.record }))
    },
    async one(root, id) {
      const [record] = await records(root, [id])
      if (!record) return null
      const [job] = await jobs(root, [{ id, record }])
      return job!
    },
  }
}
