import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import type { LabelBounds } from './label-bound.ts'

/** An event of a provider batch. */
export type ProviderBatchMetric =
  | { kind: 'line'; lane: string; as: string; savedUsd: number }
  | { kind: 'ended'; lane: string; outcome: string; durationMs: number }

/** Metrics of provider batches: outcomes and savings. */
export function createProviderBatchMetrics(registry: Registry, { lane: bound }: LabelBounds) {
  const batches = new Counter({
    name: 'sluice_provider_batches_total',
    help: 'Provider batches that ended, by outcome: completed, failed, expired, cancelled, refused, lost or empty.',
    labelNames: ['lane', 'outcome'] as const,
    registers: [registry],
  })
  const lines = new Counter({
    name: 'sluice_provider_batch_lines_total',
    help: 'Lines of provider batches, by the outcome of their jobs: completed, failed, left (sent another way) or dropped.',
    labelNames: ['lane', 'outcome'] as const,
    registers: [registry],
  })
  const saved = new Counter({
    name: 'sluice_provider_batch_saved_usd_total',
    help: 'USD that provider batches saved compared with calls.',
    labelNames: ['lane'] as const,
    registers: [registry],
  })
  const duration = new Histogram({
    name: 'sluice_provider_batch_seconds',
    help: 'Time from the creation of a provider batch to its end.',
    labelNames: ['lane'] as const,
    buckets: [60, 300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400],
    registers: [registry],
  })
  return {
    onEvent(event: ProviderBatchMetric): void {
      const lane = bound(event.lane)
      if (event.kind === 'line') {
        lines.inc({ lane, outcome: event.as })
        if (event.savedUsd > 0) saved.inc({ lane }, event.savedUsd)
        return
      }
      batches.inc({ lane, outcome: event.outcome })
      duration.observe({ lane }, event.durationMs / 1000)
    },
  }
}
