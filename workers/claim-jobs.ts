import type { JobCost } from '../jobs/job-cost.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import { estimateMoney } from '../jobs/money.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Work } from '../jobs/work.ts'
import type { LaneWaitingFor } from '../ratelimit/gate.ts'
import type { ClaimedJob } from './claimed-job.ts'
import type { Keep } from './persist.ts'
import type { RunningCalls } from './running-calls.ts'
import type { ServedLane } from './served-lanes.ts'
import { askedTier } from './tier-of-call.ts'

/**
 * Whether this worker can make the entry's call at once, because the script that created the job started the call for
 * this worker. The claim is read again, as for any other entry, in three cases:
 * - The body has to be read.
 * - So much time has passed that another worker may have the job.
 * - The place ends before this worker would renew it, because the process that made the job has a shorter
 *   `jobs.stalled_after`. The claim then makes the place last as long as this worker's others.
 *
 * @param now Unix ms, by Redis' clock
 */
function isStarted(held: Held | undefined, now: number): boolean {
  if (!held?.started?.body || held.started.leaseMs < held.leaseMs) return false
  return now - held.started.at < held.leaseMs / 2
}

/** Makes the step that claims the jobs of a call. */
export function createClaim(deps: {
  lane: Pick<ServedLane, 'current'>
  queue: LaneQueue
  work: Work
  calls: RunningCalls
  now: () => number
  keep: Keep
}) {
  const { queue, work, calls, now, keep } = deps
  return claim

  /** Writes the intents, and sorts out the entries that need no call. */
  async function claim(held: Held[], waitedFor: LaneWaitingFor | null): Promise<ClaimedJob[]> {
    const lane = deps.lane.current()
    const { provider, model } = lane
    const estimate = (cost: JobCost) => (cost.outputCap === undefined ? null : estimateMoney(lane, cost))
    const intent = {
      provider,
      model,
      coalesced: held.length,
      waitedFor,
      tier: askedTier(held, now()),
      estimate,
    }
    const ours = [...held] // below, claimed entries are replaced in `held`
    const started = isStarted(held[0], now())
      ? [await keep(() => work.openStarted(held[0]!, lane.id), 'opening a started job')]
      : await keep(() => work.start(ours, intent), 'claiming jobs')
    const claimedJobs: ClaimedJob[] = []
    const others: Promise<void>[] = []
    for (const [index, answer] of started.entries()) {
      const one = ours[index]!
      if (answer.kind === 'run') {
        const placed = queue.claimed(one)
        held[held.indexOf(one)] = placed
        claimedJobs.push({ held: placed, claimed: answer.claimed })
        continue
      }
      calls.cancel(one.tenant, one.id) // it is not part of the call
      const { kind } = answer
      const leave = kind === 'wait' ? () => queue.delay(one, answer.at) : () => queue.acknowledge(one)
      others.push(keep(leave, 'putting an entry back'))
    }
    await Promise.all(others)
    return claimedJobs
  }
}
