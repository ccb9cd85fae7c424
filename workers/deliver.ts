import type { Lane } from '../config/lanes.ts'
import type { EmbeddingCache } from '../jobs/embedding-cache.ts'
import type { LaneQueue } from '../jobs/queue.ts'
import type { AttemptEnd, Completion, Work } from '../jobs/work.ts'
import { priceUsage } from '../providers/accounting.ts'
import type { JobResult } from './provider-call.ts'
import type { Spool } from './spool.ts'

export type DeliverDeps = {
  queue: LaneQueue
  work: Work
  embeddingCache: EmbeddingCache
  onError: (error: unknown, what: string) => void
  /** Carries a write out that must not be lost. */
  keep: <T>(write: () => Promise<T>, what: string, secure?: () => Promise<() => Promise<void>>) => Promise<T>
  /** Where results are that the store does not take. */
  spool: Pick<Spool, 'put'>
}

/**
 * Stores answers, acknowledges their entries, and keeps the vectors that were paid for.
 *
 * @param end of the call that brought the answers; null: none was made for them
 */
export type Deliver = (lane: Lane, jobResults: JobResult[], end: AttemptEnd | null) => Promise<void>

export function createDeliver(deps: DeliverDeps): Deliver {
  const { queue, work, embeddingCache, onError, keep, spool } = deps

  /** For what they are worth: whatever is not kept is bought again. */
  async function keepItems(jobResults: JobResult[]): Promise<void> {
    const bought = jobResults.filter((jobResult) => jobResult.embeddings.length > 0)
    if (bought.length === 0) return
    // Behind the results, which leave at the end of this turn: nothing is kept of a job before it is completed.
    await new Promise((resolve) => setImmediate(resolve))
    const byTenant = Map.groupBy(bought, ({ job: claimedJob }) => claimedJob.held.tenant)
    try {
      await Promise.all(
        [...byTenant].map(([tenant, some]) =>
          embeddingCache.set(
            tenant,
            some.map((jobResult) => ({ id: jobResult.job.held.id, items: jobResult.embeddings })),
          ),
        ),
      )
    } catch (error) {
      onError(error, 'keeping vectors')
    }
  }

  return async (lane, jobResults, end) => {
    if (jobResults.length === 0) return
    const completions = jobResults.map((jobResult) => toCompletion(lane, jobResult, end))
    // Sent at once, and behind one another: by the time someone hears of a result, what was bought with it is kept.
    const stored = keep(
      () => work.complete(completions),
      'storing results',
      end === null ? undefined : () => spool.put(work.encode(completions)),
    )
    const kept = keepItems(jobResults)
    // The order matters: a stored result is never bought again, an unacknowledged entry is merely looked at again.
    await stored
    const acknowledge = () =>
      Promise.all(jobResults.map(({ job: claimedJob }) => queue.acknowledge(claimedJob.held)))
    await keep(acknowledge, 'acknowledging')
    await kept
  }
}

function toCompletion(lane: Lane, jobResult: JobResult, end: AttemptEnd | null): Completion {
  const { job: claimedJob, result, usage, isEstimate, cache, leftMs } = jobResult
  const costUsd = usage ? priceUsage(lane.price, usage) : 0
  const estimated = isEstimate ? ({ usage_is_estimate: true, cost_is_estimate: true } as const) : {}
  return {
    claimed: claimedJob.claimed,
    end: end && { ...end, usage, cost_usd: costUsd, ...estimated },
    result,
    usage,
    costUsd,
    ...(isEstimate ? { isEstimate } : {}),
    ...(cache === undefined ? {} : { cache }),
    ...(leftMs === undefined ? {} : { leftMs }),
  }
}
