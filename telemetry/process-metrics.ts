import { monitorEventLoopDelay } from 'node:perf_hooks'
import { collectDefaultMetrics, Gauge, type Registry } from '@prometheus-io/client'

/** The delay of the event loop is looked at this often, ms; what is measured includes it. */
const RESOLUTION_MS = 20

/** The library's own monitor of the event loop cannot be left out; so it looks once an hour. */
const NEVER_MS = 3_600_000

/** Of what the library tells; the rest is of use to those who look into Node itself. */
const KEPT = /^(?:process_|nodejs_(?:heap_size_|external_memory_bytes$|gc_duration_seconds$|version_info$))/

const QUANTILES = [0.5, 0.99, 1]

/**
 * CPU, memory, garbage collection, open files and the event loop of this process. What it starts cannot all be ended again,
 * so it is for whole processes.
 */
export function createProcessMetrics(registry: Registry): { close(): void } {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS })
  for (const { name } of registry.getMetricsAsArray()) {
    if (!KEPT.test(name) && !name.startsWith('sluice_')) registry.removeSingleMetric(name)
  }
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  new Gauge({
    name: 'sluice_event_loop_delay_seconds',
    help: 'How late the event loop ran since the scrape before, by quantile; 1 is the longest.',
    labelNames: ['quantile'] as const,
    registers: [registry],
    collect() {
      for (const quantile of QUANTILES) {
        const ms = delay.count === 0 ? RESOLUTION_MS : delay.percentile(quantile * 100) / 1e6
        this.set({ quantile }, Math.max(0, ms - RESOLUTION_MS) / 1000)
      }
      delay.reset()
    },
  })
  return { close: () => void delay.disable() }
}
