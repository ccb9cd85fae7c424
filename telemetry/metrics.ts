import { Gauge, Registry } from '@prometheus-io/client'
import { createFileMetrics } from './file-metrics.ts'
import { createFlowMetrics } from './flow-metrics.ts'
import { createHistoryMetrics } from './history-metrics.ts'
import { createHttpMetrics } from './http-metrics.ts'
import { createJobMetrics } from './job-metrics.ts'
import { createLabelBound, type LabelBounds } from './label-bound.ts'
import { createProcessMetrics } from './process-metrics.ts'
import { createProviderBatchMetrics } from './provider-batch-metrics.ts'
import { createRedisMetrics } from './redis-metrics.ts'
import { createScheduleMetrics } from './schedule-metrics.ts'
import { createStoreMetrics } from './store-metrics.ts'
import type { StoreReading } from './store-reading.ts'
import { createUpkeepMetrics } from './upkeep-metrics.ts'
import { createWebhookMetrics } from './webhook-metrics.ts'
import { createWorkMetrics } from './work-metrics.ts'
import { createWorkerMetrics } from './worker-metrics.ts'

/** Lanes and tenants that have series of their own besides those of the configuration; those that come later share one. */
const MOST_LANES = 200
const MOST_TENANTS = 200

const none: ReadonlySet<string> = new Set()

/** The metrics of one process, in any role. docs/metrics.md lists them. */
export type Metrics = ReturnType<typeof createMetrics>

/** @param deps.ofProcess whether to tell of the process itself as well */
export function createMetrics(deps: { version: string; now: () => number; ofProcess: boolean }) {
  const registry = new Registry()
  let configured = { lanes: none, tenants: none }
  const bounds: LabelBounds = {
    lane: createLabelBound(MOST_LANES, (lane) => configured.lanes.has(lane)),
    tenant: createLabelBound(MOST_TENANTS, (tenant) => configured.tenants.has(tenant)),
  }
  const refreshes: (() => Promise<void>)[] = []
  new Gauge({
    name: 'sluice_info',
    help: 'Always 1; the version is in the label.',
    labelNames: ['version'] as const,
    registers: [registry],
  }).set({ version: deps.version }, 1)
  const ofProcess = deps.ofProcess ? createProcessMetrics(registry) : null

  return {
    work: createWorkMetrics(registry, bounds),
    jobs: createJobMetrics(registry, bounds),
    http: createHttpMetrics(registry),
    webhooks: createWebhookMetrics(registry),
    flows: createFlowMetrics(registry),
    files: createFileMetrics(registry),
    providerBatches: createProviderBatchMetrics(registry, bounds),
    history: createHistoryMetrics(registry),
    redis: createRedisMetrics(registry),
    schedules: createScheduleMetrics(registry, bounds),
    upkeep: createUpkeepMetrics(registry),
    /** Names that have series of their own however many others there were before. */
    name(names: typeof configured): void {
      configured = names
    },
    /** From now on each scrape tells what stands in the store also. Once a process. */
    watchStore(read: () => Promise<StoreReading>): void {
      const { refresh } = createStoreMetrics(registry, bounds, { read, now: deps.now })
      refreshes.push(refresh)
    },
    /** From now on each scrape tells how the worker stands also. Once a process. */
    watchWorker: (worker: Parameters<typeof createWorkerMetrics>[1]): void =>
      createWorkerMetrics(registry, worker),
    /** What a scrape is answered: the text format of Prometheus. */
    async render(): Promise<{ contentType: string; text: string }> {
      await Promise.all(refreshes.map((refresh) => refresh()))
      return { contentType: registry.contentType, text: await registry.metrics() }
    },
    close: () => ofProcess?.close(),
  }
}
