import { Counter, type Registry } from '@prometheus-io/client'

/** What passes over all tenants could not do for one of them. */
export function createUpkeepMetrics(registry: Registry) {
  const failures = new Counter({
    name: 'sluice_upkeep_failures_total',
    help: 'Tenants, jobs and webhooks that a pass over all tenants failed for, by what was to be done.',
    labelNames: ['task'] as const,
    registers: [registry],
  })
  return { onFailure: (task: string): void => failures.inc({ task }) }
}
