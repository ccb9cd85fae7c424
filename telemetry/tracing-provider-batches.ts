import type { Tracing } from './tracing.ts'

/** A provider batch that ended. Times are Unix ms. */
type EndedBatch = {
  id: string
  lane: string
  providerId: string | null
  outcome: string | null
  lines: number
  counts: { completed: number; failed: number; left: number; dropped: number }
  costUsd: number
  savedUsd: number
  createdAt: number
  endedAt: number | null
}

/** Outcomes after which the provider has returned what it could. */
const GOOD = new Set(['completed', 'cancelled', 'empty'])

/**
 * Records each provider batch as a span from creation to end. It has its own trace, because its jobs come from many callers with traces of
 * their own. The span is created at the end, because a batch may outlive processes.
 */
export function createProviderBatchTracer(tracing: Tracing) {
  return (batch: EndedBatch): void => {
    const { id, lane, providerId, outcome, lines, counts, costUsd, savedUsd, createdAt, endedAt } = batch
    const span = tracing.start({
      name: `provider batch ${lane}`,
      kind: 'client',
      startedAt: createdAt,
      attributes: {
        'sluice.provider_batch': id,
        'sluice.provider_batch.provider_id': providerId ?? undefined,
        'sluice.lane': lane,
        'sluice.outcome': outcome ?? undefined,
        'sluice.lines': lines,
        'sluice.lines.completed': counts.completed,
        'sluice.lines.failed': counts.failed,
        'sluice.lines.left': counts.left,
        'sluice.lines.dropped': counts.dropped,
        'sluice.cost_usd': costUsd,
        'sluice.saved_usd': savedUsd,
      },
    })
    if (outcome !== null && !GOOD.has(outcome)) span.fail(outcome)
    span.end(endedAt ?? undefined)
  }
}
