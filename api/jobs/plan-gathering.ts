import type { Lane } from '../../config/lanes.ts'
import type { JobType, Tier } from '../../jobs/job.ts'
import type { GatherPlan, NewJob } from '../../jobs/jobs.ts'
import { sourceOf } from '../../lib/json-source.ts'

/** Types of jobs that all of these batch APIs take. */
const GATHERED: ReadonlySet<JobType> = new Set(['chat', 'response', 'embedding', 'message'])

/** What a line of a batch has around the request's body, bytes. */
const AROUND_BODY = 200

/**
 * Decides whether a job waits for a batch of its provider. It does where it asks for that, or for the cheapest way, the lane has batches, and
 * there is time: for gathering, for a batch as they took lately, and for leaving before the deadline. Undefined: it is called.
 *
 * @param turnaroundMs how long the lane's batches took lately; null: not known
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
  // Whoever reads a stream reads it as it comes.
  if (tier === 'auto' && job.body.stream === true) return undefined
  const leaveAt = job.deadline === null ? null : job.deadline - settings.leave_before
  const needed = settings.gather + (tier === 'auto' ? (turnaroundMs ?? 0) : 0)
  if (leaveAt !== null && Math.max(now, job.runAt ?? 0) + needed > leaveAt) return undefined
  const bytes = Buffer.byteLength(sourceOf(job.body)) + AROUND_BODY
  if (bytes > settings.max_bytes || job.cost.inputTokens > settings.max_queued_tokens) return undefined
  return { type: job.type, leaveAt, bytes }
}
