import type { Job, JobType } from '../../jobs/job.ts'
import type { JobCost } from '../../jobs/job-cost.ts'
import type { Refusal } from '../../jobs/jobs.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { fileIdOf } from '../../lib/input-files.ts'
import type { ApiDeps, ApiStore } from '../deps.ts'
import type { IdempotencyPolicy } from '../idempotency-key.ts'
import { keyReused, refused } from './refusals.ts'

/**
 * Adds the earliest time at which a call for a job with a deadline could start. The store refuses the job if that is too late, unless it
 * needs no call: a replay, a cached answer, or an equal job under way.
 */
export async function noteEarliestStart(
  job: NewJob,
  deps: { lanes: Pick<ApiDeps['lanes'], 'forecast'> } & Pick<ApiDeps, 'now'>,
): Promise<NewJob> {
  if (job.deadline === null) return job
  // The forecast is for the end of the tenant's queue; the turn of a fair key may come long before.
  const forecast =
    job.fairKey === undefined ? await deps.lanes.forecast(job.lane, job.tenant, job.priority) : null
  const cost = forecast === null ? job.cost : leaveFlexEarlier(job.cost, forecast - deps.now())
  return { ...job, cost, earliestStart: Math.max(forecast ?? 0, job.runAt ?? 0) }
}

/** Waiting time at standard cannot be spent at flex. */
function leaveFlexEarlier(cost: JobCost, waitMs: number): JobCost {
  const { flex } = cost
  if (flex === undefined || flex.until === null || waitMs <= 0) return cost
  return { ...cost, flex: { ...flex, until: flex.until - waitMs } }
}

/**
 * Submits a job. Throws the reason for a refusal: `deadline_unreachable`, `idempotency_key_reused`, `queue_full`, `rate_limited`,
 * `budget_exhausted`.
 */
async function acceptJob(newJob: NewJob, deps: AcceptDeps): Promise<{ job: Job; isReplayed: boolean }> {
  const job = await noteEarliestStart(newJob, deps)
  let outcome = await deps.store.jobs.create(job)
  if (outcome.kind === 'created' && (await hasLostFiles(outcome.job, job.tenant, deps))) {
    // This also removes the cached answer, so that the next job gets a new one.
    await deps.store.jobs.remove(job.tenant, outcome.job.id)
    outcome = await deps.store.jobs.create(job)
  }
  if (outcome.kind === 'conflict') throw keyReused()
  if (outcome.kind === 'refused') {
    const isOfDeadline = outcome.code === 'deadline_unreachable'
    const retryAfterMs =
      outcome.retryAfterMs ?? (isOfDeadline ? null : await estimateRoom(job, outcome.code, deps))
    throw refused({ ...outcome, retryAfterMs }, job)
  }
  return { job: outcome.job, isReplayed: outcome.kind === 'replayed' }
}

export type AcceptDeps = {
  store: Pick<ApiStore, 'jobs' | 'files'>
  lanes: Pick<ApiDeps['lanes'], 'forecast'>
} & Pick<ApiDeps, 'now'>

/** Whether a cached answer names a file that was deleted. */
async function hasLostFiles(job: Job, tenant: string, { store: { files } }: AcceptDeps): Promise<boolean> {
  if (job.cache !== 'hit' || !HAVE_FILES.has(job.type)) return false
  const data = job.result?.data
  const ids = (Array.isArray(data) ? data : []).map(fileIdOf).filter((id) => id !== null)
  const found = await Promise.all(ids.map((id) => files.get(tenant, id)))
  return found.includes(null)
}

/** Job types whose results name files. */
const HAVE_FILES: ReadonlySet<JobType> = new Set(['image', 'image_edit', 'speech'])

/**
 * `acceptJob` with `Idempotency-Key-Policy`: `retry-failed` queues a replayed job again that failed or was cancelled. Returns the same job
 * either way.
 */
export async function acceptOrRetry(
  newJob: NewJob,
  policy: IdempotencyPolicy,
  deps: AcceptDeps,
): Promise<{ job: Job; isReplayed: boolean; isRetried: boolean }> {
  const accepted = await acceptJob(newJob, deps)
  const { job, isReplayed } = accepted
  if (!isReplayed || policy !== 'retry-failed' || !isRetryable(job.status))
    return { ...accepted, isRetried: false }
  const retried = await deps.store.jobs.retry(newJob.tenant, job.id)
  return { job: retried?.job ?? job, isReplayed, isRetried: retried?.kind === 'retried' }
}

/** Whether a job ended without a result, and may be queued again. */
export function isRetryable(status: Job['status']): boolean {
  return status === 'failed' || status === 'cancelled'
}

/** Tells a client that the answer is a replay: repeating the request with the key returns the same again. */
export function replayHeaders(job: Job): Record<string, string> {
  return {
    'idempotent-replayed': 'true',
    ...(isRetryable(job.status) ? { 'x-should-retry': 'false' } : {}),
  }
}

/**
 * Ms until one more job fits into a full queue. The open jobs of the tenant, or of the fair key, leave one by one until the last is served.
 * Null while the lane's speed is unknown.
 */
async function estimateRoom(
  job: NewJob,
  code: Refusal['code'],
  deps: { lanes: Pick<ApiDeps['lanes'], 'forecast'> } & Pick<ApiDeps, 'now'>,
): Promise<number | null> {
  const { maxQueued, perFairKey } = job.limits
  if (code === 'fair_key_full') {
    // Its calls start at most at this pace.
    if (perFairKey?.requestsPerMinute != null) return 60_000 / perFairKey.requestsPerMinute
    return null
  }
  const forecast = await deps.lanes.forecast(job.lane, job.tenant, job.priority)
  return forecast === null ? null : Math.max(0, forecast - deps.now()) / maxQueued
}
