import { Counter, Histogram, type Registry } from '@prometheus-io/client'

/** Metrics of flows and their steps. */
export function createFlowMetrics(registry: Registry) {
  const ended = new Counter({
    name: 'sluice_flows_ended_total',
    help: 'Flows that ended, by outcome.',
    labelNames: ['status'] as const,
    registers: [registry],
  })
  const steps = new Counter({
    name: 'sluice_flow_steps_total',
    help: 'Steps of flows that ended, by outcome.',
    labelNames: ['outcome'] as const,
    registers: [registry],
  })
  const duration = new Histogram({
    name: 'sluice_flow_seconds',
    help: 'From the creation of a flow to its end.',
    buckets: [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400],
    registers: [registry],
  })
  return {
    /** Called once for each end of a flow or a step. */
    onProgress(progress: { ended: string | null; durationMs: number; steps: readonly string[] }): void {
      for (const outcome of progress.steps) steps.inc({ outcome })
      if (progress.ended === null) return
      ended.inc({ status: progress.ended })
      duration.observe(progress.durationMs / 1000)
    },
  }
}
