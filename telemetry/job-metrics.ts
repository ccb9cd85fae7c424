import { Counter, type Registry } from '@prometheus-io/client'
import type { LabelBounds } from './label-bound.ts'

/** Jobs as they come in, and what befalls them where no call is made. */
export function createJobMetrics(registry: Registry, bounds: LabelBounds) {
  const registers = [registry]
  const submitted = new Counter({
    name: 'sluice_jobs_submitted_total',
    help: 'Jobs let in, by where their answer is to come from, and repeated submissions (replayed).',
    labelNames: ['tenant', 'type', 'cache'] as const,
    registers,
  })
  const refused = new Counter({
    name: 'sluice_jobs_refused_total',
    help: 'Jobs not let in, by why.',
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
    /** @param outcome where the answer comes from, or why the job was refused */
    onSubmitted(job: { tenant: string; type: string; outcome: string; isRefused: boolean }): void {
      const tenant = bounds.tenant(job.tenant)
      if (job.isRefused) refused.inc({ tenant, reason: job.outcome })
      else submitted.inc({ tenant, type: job.type, cache: job.outcome })
    },
  }
}
