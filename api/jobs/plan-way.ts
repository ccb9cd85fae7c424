import type { Lane } from '../../config/lanes.ts'
import type { Tier } from '../../jobs/job.ts'
import type { FlexPlan } from '../../jobs/job-cost.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { isWithoutOutput } from '../../providers/endpoints.ts'
import { planGathering } from './plan-gathering.ts'

/** For a job with a deadline at flex, the time of this many calls at standard is reserved: one may fail. */
const KEPT_CALLS = 2
/** Largest share of its time that is reserved. */
const KEPT_SHARE = 1 / 2

export type WayQuestion = Pick<NewJob, 'type' | 'body' | 'deadline' | 'runAt' | 'cost' | 'timeoutMs'> & {
  /** The timeout that the client set, ms. */
  askedTimeoutMs: number | null | undefined
}

/**
 * Decides how a job is served: in a provider batch, at flex, or at standard. A job of tier `auto` gets the cheapest way that meets its
 * deadline; at equal prices the batch, which leaves the rate limits to calls. Its `cost.flex` tells until when it may be sent at flex, also
 * after it left a batch.
 *
 * @param turnaroundMs how long the lane's batches took lately; null: unknown
 */
export function planWay(
  job: WayQuestion,
  lane: Lane,
  tier: Tier,
  now: number,
  turnaroundMs: number | null,
): Pick<NewJob, 'gather' | 'cost'> {
  const gather = planGathering(job, lane, tier, now, turnaroundMs)
  const { flex: _, ...plain } = job.cost
  const flex = planFlex(job, lane, tier, now)
  if (flex === undefined) return { ...(gather === undefined ? {} : { gather }), cost: plain }
  const cost = { ...plain, flex }
  const isBatchCheapest = factorOf(lane, 'batch') <= factorOf(lane, 'flex')
  return gather !== undefined && isBatchCheapest ? { gather, cost } : { cost }
}

/** Undefined: the job cannot use flex, or flex is not cheaper. */
function planFlex(job: WayQuestion, lane: Lane, tier: Tier, now: number): FlexPlan | undefined {
  const settings = lane.tiers?.flex
  if (!settings || isWithoutOutput(job.type) || (tier !== 'auto' && tier !== 'flex')) return undefined
  const timeout = job.askedTimeoutMs ?? Math.max(job.timeoutMs, settings.timeout)
  const plan = { until: null, fallBackAfter: settings.fall_back_after, timeout }
  if (tier === 'flex') return plan
  if (job.body.stream === true || (lane.price !== null && factorOf(lane, 'flex') >= 1)) return undefined
  if (job.deadline === null) return plan
  const left = job.deadline - Math.max(now, job.runAt ?? 0)
  return { ...plan, until: job.deadline - Math.min(KEPT_CALLS * job.timeoutMs, left * KEPT_SHARE) }
}

function factorOf({ price }: Lane, tier: 'flex' | 'batch'): number {
  return price?.tiers?.[tier] ?? 1
}
