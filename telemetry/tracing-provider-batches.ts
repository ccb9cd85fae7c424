import type { Tracing } from './tracing.ts'

/** What is told of a batch at a provider that ended; times are Unix ms. */
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

/** Outcomes after which the provider has answered what it could. */
const GOOD = new Set(['completed', 'cancelled', 'empty'])

/**
 * A span for each batch at a provider, from its making to its end, in a trace of its own: its jobs have many callers, each with a trace. It is
 * made when the batch ends, for a batch outlives processes.
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
