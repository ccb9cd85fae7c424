import type { Lane } from '../config/lanes.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { AttemptEnd } from '../jobs/finish.ts'
import type { JobError } from '../jobs/job.ts'
import { type LaneQueue, LONGEST_PAUSE_DELAY_MS } from '../jobs/lane-queue.ts'
import type { EntryMark, Held } from '../jobs/queue-entry.ts'
import type { Retry, Work } from '../jobs/work.ts'
import type { ProviderFailure } from '../providers/provider.ts'
import type { Gate } from '../ratelimit/gate.ts'
import type { ClaimedJob } from './claimed-job.ts'
import { decide, toJobError } from './outcome.ts'
import type { Keep } from './persist.ts'
import { isBound, tenantOf } from './plan.ts'
import type { ServedLane } from './served-lanes.ts'
import { mayMove } from './sources.ts'
import { spreadRetries } from './spread-retries.ts'
import { fallBackAt, nextTryAtFlex } from './tier-of-call.ts'

/** After a shared request failed, its jobs are sent again in groups of 1/PARTS of its size. */
const PARTS = 4

export type AfterFailureDeps = {
  lane: Pick<ServedLane, 'current' | 'successor'>
  queue: Pick<LaneQueue, 'acknowledge' | 'delay'>
  work: Pick<Work, 'fail' | 'requeue'>
  gate: Pick<Gate, 'retry'>
  /** Unix ms, by Redis' clock. */
  now: () => number
  onError: (error: unknown, what: string) => void
  keep: Keep
  /** Sends held entries again, under a permit of their own. */
  resend: (held: Held[]) => Promise<void>
}

/** How a call failed. `isShown`: a client has seen a part of the answer. */
export type FailedCall = {
  failure: ProviderFailure
  end: AttemptEnd
  /** What the call cost each of its jobs, in their order. */
  costs: Partial<AttemptEnd>[]
  isShown: boolean
  abortReason: unknown
  /** The call was cut off because its job has to be sent at the standard tier now. */
  isOutOfTime: boolean
}

/** Carries out what outcome.ts decides for the jobs of a call without a result. */
export function createAfterFailure(deps: AfterFailureDeps) {
  const { queue, work, gate, now, keep } = deps

  async function settleJobs(lane: Lane, claimedJobs: ClaimedJob[], call: FailedCall): Promise<void> {
    const { failure, isShown, abortReason } = call
    const ends = claimedJobs.map((_, index): AttemptEnd => ({ ...call.end, ...call.costs[index] }))
    if (failure.input && claimedJobs.length > 1) return split(claimedJobs, ends)
    if (mayBeOneOf(failure) && claimedJobs.length > 1) return part(claimedJobs, ends, failure)
    if (isShown) {
      const { held, claimed } = claimedJobs[0]!
      const mayRetry = failure.class !== 'final'
      return endWith(held, claimed, ends[0]!, toJobError(failure, mayRetry), mayRetry)
    }

    const at = now()
    if (call.isOutOfTime) {
      const next: Retry = {
        at,
        countsAsAttempt: false,
        reason: 'deadline_near',
        waitingFor: 'retry_delay',
      }
      await Promise.all(
        claimedJobs.map(({ held, claimed }, index) => putBack(held, claimed, ends[index]!, next)),
      )
      return
    }
    const chance = Math.random() // one number for all, so that jobs that shared a request are sent again together
    const decided = claimedJobs.map(({ held, claimed }) =>
      decide(
        failure,
        { ...claimed, throttles: held.throttles },
        lane.retry,
        at,
        () => chance,
        deps.lane.successor(claimed),
        mayMove(lane) && !isBound(lane, { held: [held] }),
      ),
    )
    const spread = await spreadRetries(decided, (count) =>
      gate.retry(lane, count, tenantOf(claimedJobs.map((one) => one.held))).catch((error) => {
        deps.onError(error, 'booking retries')
        return []
      }),
    )

    await Promise.all(
      claimedJobs.map(async ({ held, claimed }, index) => {
        const outcome = spread[index]!
        const end = ends[index]!
        switch (outcome.kind) {
          case 'failed':
            return endWith(held, claimed, end, outcome.error)
          case 'retry':
          case 'throttled':
            return putBack(
              held,
              claimed,
              end,
              {
                at:
                  outcome.kind === 'retry'
                    ? outcome.at
                    : Math.min(outcome.at, Math.max(at, fallBackAt(lane, claimed))),
                countsAsAttempt: outcome.kind === 'retry',
                reason: outcome.reason,
                waitingFor: outcome.waitingFor,
              },
              // A 429 does not come from sharing a request. Any other failure may, or may come from the job itself.
              outcome.kind === 'retry'
                ? { broken: true, apart: claimedJobs.length }
                : { throttles: outcome.throttles },
            )
          case 'elsewhere':
            return putBack(
              held,
              claimed,
              end,
              { at, countsAsAttempt: false, reason: outcome.reason, waitingFor: outcome.waitingFor },
              outcome.throttles === null ? undefined : { throttles: outcome.throttles },
            )
          case 'no_capacity':
            return putBack(held, claimed, end, {
              at: nextTryAtFlex(lane, claimed, at, outcome.at),
              countsAsAttempt: false,
              reason: outcome.reason,
              waitingFor: outcome.waitingFor,
            })
          case 'rerouted':
            return putBack(held, claimed, end, {
              at: now(),
              countsAsAttempt: false,
              reason: outcome.reason,
              waitingFor: 'retry_delay',
              lane: outcome.lane,
            })
          case 'released':
            return putBack(held, claimed, end, {
              at: now(),
              countsAsAttempt: false,
              reason: String(abortReason ?? 'aborted'),
              waitingFor: 'retry_delay',
            })
        }
      }),
    )
  }

  /** `own`: only this job failed, and its followers continue without it. */
  async function endWith(
    held: Held,
    claimed: Claimed,
    end: AttemptEnd,
    error: JobError,
    own = false,
  ): Promise<void> {
    await keep(() => work.fail(claimed, end, error, own), 'storing a failure')
    await keep(() => queue.acknowledge(held), 'acknowledging an entry')
  }

  async function putBack(
    held: Held,
    claimed: Claimed,
    end: AttemptEnd,
    next: Retry,
    mark?: EntryMark,
  ): Promise<void> {
    const fallsBackAt = fallBackAt(deps.lane.current(), claimed)
    const isBackAtStandard = next.lane === undefined && next.at >= fallsBackAt
    // The permit is taken before the claim, so the entry has to name the tier.
    const marks = Number.isFinite(fallsBackAt) ? { ...mark, fallsBackAt } : mark
    const leaves = isBackAtStandard ? ({ leaves: 'flex' } as const) : {}
    const waits = await keep(() => work.requeue(claimed, end, { ...next, ...leaves }), 'storing a retry')
    // An operator may end a pause early. The record only says when it would end by itself.
    const at =
      next.waitingFor === 'provider_pause' ? Math.min(next.at, now() + LONGEST_PAUSE_DELAY_MS) : next.at
    const leave = () => (waits ? queue.delay(held, at, marks) : queue.acknowledge(held))
    await keep(leave, 'putting an entry back')
  }

  /**
   * A shared request failed, and one of its jobs may be the cause. All jobs are sent again at once, in smaller groups
   * that no other job joins. A shared failure does not count as an attempt. The failure of a job that was sent alone
   * does.
   */
  async function part(
    claimedJobs: ClaimedJob[],
    ends: AttemptEnd[],
    failure: ProviderFailure,
  ): Promise<void> {
    const mark = { broken: true, apart: Math.max(1, Math.floor(claimedJobs.length / PARTS)) } as const
    const next: Retry = {
      at: now(),
      countsAsAttempt: false,
      reason: failure.code,
      waitingFor: 'retry_delay',
    }
    await Promise.all(
      claimedJobs.map(({ held, claimed }, index) => putBack(held, claimed, ends[index]!, next, mark)),
    )
  }

  /**
   * The provider rejected a request because of one of its inputs, and does not say which. Each half is sent again by
   * itself, until only the job with the bad input is left to fail. For one bad input among n, that takes at most
   * 2·log₂(n) more requests.
   */
  async function split(claimedJobs: ClaimedJob[], ends: AttemptEnd[]): Promise<void> {
    const resent: Held[] = []
    await Promise.all(
      claimedJobs.map(async ({ held, claimed }, index) => {
        const next: Retry = {
          at: 0,
          countsAsAttempt: false,
          reason: 'input_rejected',
          waitingFor: 'requests',
          heldForMs: held.leaseMs,
        }
        const goesOn = await keep(() => work.requeue(claimed, ends[index]!, next), 'splitting a request')
        if (goesOn) resent.push(held)
        else await keep(() => queue.acknowledge(held), 'acknowledging an entry')
      }),
    )
    const middle = Math.ceil(resent.length / 2)
    const order = new Map(claimedJobs.map((one, index) => [one.held, index]))
    resent.sort((a, b) => order.get(a)! - order.get(b)!)
    const halves = [resent.slice(0, middle), resent.slice(middle)].filter((half) => half.length > 0)
    await Promise.all(halves.map(deps.resend))
  }

  return { settleJobs, endWith }
}

/** True if one of the jobs may have caused the failure. A provider that names a wait is only busy. */
function mayBeOneOf(failure: ProviderFailure): boolean {
  const { retryAfterMs } = failure.feedback
  return (failure.class === 'retryable' || failure.class === 'timeout') && !retryAfterMs
}
