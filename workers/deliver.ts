import type { Lane } from '../config/lanes.ts'
import type { AttemptEnd, Completion } from '../jobs/finish.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import { priceUsage, savedByPromptCache } from '../providers/accounting.ts'
import type { CallStore } from './call-store.ts'
import type { Keep } from './persist.ts'
import type { JobResult } from './provider-call.ts'

export type DeliverDeps = {
  queue: Pick<LaneQueue, 'acknowledge'>
  store: Pick<CallStore, 'work' | 'embeddingCache'> & { spool: Pick<CallStore['spool'], 'put'> }
  onError: (error: unknown, what: string) => void
  keep: Keep
}

/**
 * Stores answers, acknowledges their entries, and caches the vectors that were paid for.
 *
 * @param end of the call that brought the answers; null: no call was made for them
 * @returns what the answers cost together, USD
 */
export type Deliver = (lane: Lane, jobResults: JobResult[], end: AttemptEnd | null) => Promise<number>

export function createDeliver(deps: DeliverDeps): Deliver {
  const { queue, onError, keep } = deps
  const { work, embeddingCache, spool } = deps.store

  /** Best effort: a vector that is not cached is bought again. */
  async function keepItems(jobResults: JobResult[]): Promise<void> {
    const bought = jobResults.filter((jobResult) => jobResult.embeddings.length > 0)
    if (bought.length === 0) return
    // The results are sent at the end of this turn of the event loop, and the vectors after them. So nothing of a job
    // is cached before the job is completed.
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
      onError(error, 'caching vectors')
    }
  }

  return async (lane, jobResults, end) => {
    if (jobResults.length === 0) return 0
    const completions = jobResults.map((jobResult) => toCompletion(lane, jobResult, end))
    // Both are sent together and in this order: when a client hears of a result, its vectors are cached.
    const stored = keep(
      () => work.complete(completions),
      'storing results',
      end === null ? undefined : () => spool.put(work.encode(completions)),
    )
    const kept = keepItems(jobResults)
    // The order matters: a stored result is never bought again, and an entry that is not acknowledged is only looked at
    // again.
    await stored
    const acknowledge = () =>
      Promise.all(jobResults.map(({ job: claimedJob }) => queue.acknowledge(claimedJob.held)))
    await keep(acknowledge, 'acknowledging entries')
    await kept
    return completions.reduce((sum, { costUsd }) => sum + (costUsd ?? 0), 0)
  }
}

function toCompletion(lane: Lane, jobResult: JobResult, end: AttemptEnd | null): Completion {
  const { job: claimedJob, result, usage, isEstimate, cache, leftMs, files, partials } = jobResult
  const servedTier = jobResult.servedTier ?? 'standard'
  // An answer that was known already costs nothing, at any price.
  const isFree = end === null || usage === null
  const costUsd = isFree ? 0 : lane.price === null ? null : priceUsage(lane.price, usage, servedTier)
  const savedUsd = isFree || lane.price === null ? 0 : savedByPromptCache(lane.price, usage, servedTier)
  const tierMember = servedTier === 'standard' ? {} : { served_tier: servedTier }
  const estimated = isEstimate ? ({ usage_is_estimate: true, cost_is_estimate: true } as const) : {}
  return {
    claimed: claimedJob.claimed,
    end: end && {
      ...end,
      ...tierMember,
      usage,
      ...(costUsd === null ? { is_unpriced: true as const } : { cost_usd: costUsd }),
      ...estimated,
    },
    result,
    usage,
    costUsd,
    ...(servedTier === 'standard' ? {} : { servedTier }),
    ...(savedUsd > 0 ? { savedUsd } : {}),
    ...(isEstimate ? { isEstimate } : {}),
    ...(cache === undefined ? {} : { cache }),
    ...(leftMs === undefined ? {} : { leftMs }),
    ...(files === undefined ? {} : { files }),
    ...(partials === undefined || partials.length === 0 ? {} : { partials }),
  }
}
