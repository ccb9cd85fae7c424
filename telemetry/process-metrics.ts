import { monitorEventLoopDelay } from 'node:perf_hooks'
import { collectDefaultMetrics, Gauge, type Registry } from '@prometheus-io/client'

/** Sampling interval of the event loop's delay, ms. It is part of the measured value. */
const RESOLUTION_MS = 20

/** The library's own monitor of the event loop cannot be disabled, so it samples only once an hour. */
const NEVER_MS = 3_600_000

/** The metrics of the library to keep. The others are only useful for analysing Node itself. */
const KEPT = /^(?:process_|nodejs_(?:heap_size_|external_memory_bytes$|gc_duration_seconds$|version_info$))/

const QUANTILES = [0.5, 0.99, 1]

/**
 * CPU, memory, garbage collection, open files and the event loop of this process. Not everything that this starts can be stopped, so it is
 * for whole processes only.
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
    help: 'Delay of the event loop since the previous scrape, by quantile; 1 is the maximum.',
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
