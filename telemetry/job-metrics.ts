import { Counter, type Registry } from '@prometheus-io/client'
import type { LabelBounds } from './label-bound.ts'

/** Metrics of submitted jobs, and of jobs that end without a call. */
export function createJobMetrics(registry: Registry, bounds: LabelBounds) {
  const registers = [registry]
  const submitted = new Counter({
    name: 'sluice_jobs_submitted_total',
    help: 'Accepted jobs, by the source of their answer, and repeated submissions (replayed).',
    labelNames: ['tenant', 'type', 'cache'] as const,
    registers,
  })
  const refused = new Counter({
    name: 'sluice_jobs_refused_total',
    help: 'Refused jobs, by reason.',
    labelNames: ['tenant', 'reason'] as const,
    registers,
  })
  const incidents = new Counter({
    name: 'sluice_job_mishaps_total',
    help: 'Jobs that ended without a call (failed), and calls that were lost with their workers (lost).',
    labelNames: ['lane', 'kind'] as const,
    registers,
  })
  return {
    onIncident: ({ lane, kind }: { lane: string; kind: string }): void =>
      incidents.inc({ lane: bounds.lane(lane), kind }),
    /** @param outcome the source of the answer, or the reason of the refusal */
    onSubmitted(job: { tenant: string; type: string; outcome: string; isRefused: boolean }): void {
      const tenant = bounds.tenant(job.tenant)
      if (job.isRefused) refused.inc({ tenant, reason: job.outcome })
      else submitted.inc({ tenant, type: job.type, cache: job.outcome })
    },
  }
}
