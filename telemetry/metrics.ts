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

/** Lanes and tenants with series of their own, besides the configured ones. Later ones share a series. */
const MOST_LANES = 200
const MOST_TENANTS = 200

const none: ReadonlySet<string> = new Set()

/** The metrics of one process, in any role. docs/metrics.md lists them. */
export type Metrics = ReturnType<typeof createMetrics>

/** @param deps.ofProcess whether to include metrics of the process itself */
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
    /** Gives names their own series, regardless of the limit. */
    name(names: typeof configured): void {
      configured = names
    },
    /** Adds a reading of the store to each scrape. Call it once per process. */
    watchStore(read: () => Promise<StoreReading>): void {
      const { refresh } = createStoreMetrics(registry, bounds, { read, now: deps.now })
      refreshes.push(refresh)
    },
    /** Adds the state of the worker to each scrape. Call it once per process. */
    watchWorker: (worker: Parameters<typeof createWorkerMetrics>[1]): void =>
      createWorkerMetrics(registry, worker),
    /** The body of a scrape in the text format of Prometheus. */
    async render(): Promise<{ contentType: string; text: string }> {
      await Promise.all(refreshes.map((refresh) => refresh()))
      return { contentType: registry.contentType, text: await registry.metrics() }
    },
    close: () => ofProcess?.close(),
  }
}
