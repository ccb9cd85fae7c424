import { Counter, Gauge, type Registry } from '@prometheus-io/client'

/** What the elected maintainer does for all tenants, and what it could not do for one of them. */
export function createUpkeepMetrics(registry: Registry) {
  const failures = new Counter({
    name: 'sluice_upkeep_failures_total',
    help: 'Tenants, jobs and webhooks that a pass over all tenants failed for, by what was to be done.',
    labelNames: ['task'] as const,
    registers: [registry],
  })
  const runs = new Counter({
    name: 'sluice_maintenance_runs_total',
    help: 'Runs of a maintenance task that ended in this worker, by whether they failed as a whole.',
    labelNames: ['task', 'outcome'] as const,
    registers: [registry],
  })
  const seconds = new Counter({
    name: 'sluice_maintenance_seconds_total',
    help: 'Time that the runs of a maintenance task took in this worker.',
    labelNames: ['task'] as const,
    registers: [registry],
  })
  return {
    onFailure: (task: string): void => failures.inc({ task }),
    onRun(task: string, durationMs: number, hasFailed: boolean): void {
      runs.inc({ task, outcome: hasFailed ? 'failed' : 'done' })
      seconds.inc({ task }, durationMs / 1000)
    },
    /** From now on each scrape tells whether this worker is the maintainer. Once a process. */
    watchMaintainer(isElected: () => boolean): void {
      new Gauge({
        name: 'sluice_maintainer',
        help: 'Whether this worker is the elected maintainer, 1 or 0; one worker of all is.',
        registers: [registry],
        collect() {
          this.set(isElected() ? 1 : 0)
        },
      })
    },
  }
}
