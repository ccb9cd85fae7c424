import type { Lane } from '../../config/lanes.ts'
import type { JobType, Tier } from '../../jobs/job.ts'
import type { GatherPlan, NewJob } from '../../jobs/new-job.ts'
import { sourceOf } from '../../lib/json-source.ts'

/** Job types that all of these batch APIs accept. */
const GATHERED: ReadonlySet<JobType> = new Set(['chat', 'response', 'embedding', 'message'])

/** Bytes of a batch line besides the request's body. */
const AROUND_BODY = 200

/**
 * Decides whether a job waits for a provider batch. It does if it asks for a batch or for the cheapest tier, if the lane has batches, and
 * if there is enough time: to gather jobs, for a batch of recent duration, and to leave it before the deadline. Undefined: it is called
 * instead.
 *
 * @param turnaroundMs how long the lane's batches took lately; null: unknown
 */
export function planGathering(
  job: Pick<NewJob, 'type' | 'body' | 'deadline' | 'runAt' | 'cost'>,
  lane: Lane,
  tier: Tier,
  now: number,
  turnaroundMs: number | null,
): GatherPlan | undefined {
  const settings = lane.tiers?.batch
  if (!settings || !GATHERED.has(job.type) || (tier !== 'batch' && tier !== 'auto')) return undefined
  // A stream is read while it arrives, which a batch cannot do.
  if (tier === 'auto' && job.body.stream === true) return undefined
  const leaveAt = job.deadline === null ? null : job.deadline - settings.leave_before
  const needed = settings.gather + (tier === 'auto' ? (turnaroundMs ?? 0) : 0)
  if (leaveAt !== null && Math.max(now, job.runAt ?? 0) + needed > leaveAt) return undefined
  const bytes = Buffer.byteLength(sourceOf(job.body)) + AROUND_BODY
  if (bytes > settings.max_bytes || job.cost.inputTokens > settings.max_queued_tokens) return undefined
  return { type: job.type, leaveAt, bytes }
}
