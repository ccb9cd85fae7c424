import { resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import { encodeIntent } from '../jobs/claim.ts'
import type { StartPlan } from '../jobs/direct-plan.ts'
import { OUTBOX_GRACE_MS } from '../jobs/leases.ts'
import type { NewJob } from '../jobs/new-job.ts'
import type { Queues } from '../jobs/queue.ts'
import type { Gate } from '../ratelimit/gate.ts'
import { boundTo, costOf } from '../workers/plan.ts'
import { askedTier, tierToTake } from '../workers/tier-of-call.ts'

/**
 * The data that the script which creates a job needs to start its call as the lane's worker would: with the same cost, tier and intent.
 * Null if only the worker knows what the call needs, because prompts of the lane are kept warm.
 */
export function createStartPlans(deps: {
  gate: Pick<Gate, 'prepareTake'>
  queues: Pick<Queues, 'waitingKeys'>
  config: () => Config
  /** How long a place holds a job for its worker, ms; for as long as the process runs, as the workers' renewals. */
  leaseMs: number
  /** Unix ms, by Redis' clock. */
  now: () => number
}): (job: Pick<NewJob, 'tenant' | 'lane' | 'cost'>) => Promise<StartPlan | null> {
  const { leaseMs } = deps
  // Until the job may be called again. From its first renewal on, the permit has the lease of any other.
  const permitLeaseMs = leaseMs + OUTBOX_GRACE_MS
  return async ({ tenant, lane: id, cost }) => {
    const lane = resolveLane(deps.config(), id)
    if (lane === null || lane.coalesce || lane.promptCache === 'warm') return null
    const entries = [{ cost, fallsBackAt: null, tenant }]
    const tier = askedTier(entries, deps.now())
    return {
      ...(await deps.gate.prepareTake(lane, costOf(entries), permitLeaseMs)),
      waiting: deps.queues.waitingKeys(id),
      tenant,
      source: lane.sources === undefined ? '' : boundTo(entries),
      tier: tierToTake(entries, deps.now()),
      intent: encodeIntent({
        provider: lane.provider,
        model: lane.model,
        coalesced: 1,
        waitedFor: null,
        tier,
      }),
      leaseMs,
    }
  }
}
