import { Counter, Gauge, type Registry } from '@prometheus-io/client'

/** Metrics of the elected maintainer's work for all tenants, including failures for single ones. */
export function createUpkeepMetrics(registry: Registry) {
  const failures = new Counter({
    name: 'sluice_upkeep_failures_total',
    help: 'Failures of passes over all tenants for single tenants, jobs or webhooks, by task.',
    labelNames: ['task'] as const,
    registers: [registry],
  })
  const runs = new Counter({
    name: 'sluice_maintenance_runs_total',
    help: 'Runs of a maintenance task that ended in this worker, by whether the whole run failed.',
    labelNames: ['task', 'outcome'] as const,
    registers: [registry],
  })
  const seconds = new Counter({
    name: 'sluice_maintenance_seconds_total',
    help: 'Duration of the runs of a maintenance task in this worker.',
    labelNames: ['task'] as const,
    registers: [registry],
  })
  return {
    onFailure: (task: string): void => failures.inc({ task }),
    onRun(task: string, durationMs: number, hasFailed: boolean): void {
      runs.inc({ task, outcome: hasFailed ? 'failed' : 'done' })
      seconds.inc({ task }, durationMs / 1000)
    },
    /** Adds to each scrape whether this worker is the maintainer. Call it once per process. */
    watchMaintainer(isElected: () => boolean): void {
      new Gauge({
        name: 'sluice_maintainer',
        help: 'Whether this worker is the elected maintainer, 1 or 0; exactly one worker is.',
        registers: [registry],
        collect() {
          this.set(isElected() ? 1 : 0)
        },
      })
    },
  }
}
