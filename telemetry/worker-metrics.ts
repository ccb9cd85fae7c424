import { Gauge, type Registry } from '@prometheus-io/client'

/** Metrics of a worker process, read at each scrape. */
export function createWorkerMetrics(
  registry: Registry,
  deps: {
    isHealthy: () => boolean
    /** Files with results on disk: those that wait for Redis, and those that it will never accept. */
    spooled: () => Promise<{ waiting: number; setAside: number }>
  },
): void {
  new Gauge({
    name: 'sluice_worker_healthy',
    help: 'Whether the lanes of this worker make progress, 1 or 0; absent in processes without a worker.',
    registers: [registry],
    collect() {
      this.set(deps.isHealthy() ? 1 : 0)
    },
  })
  new Gauge({
    name: 'sluice_spool_files',
    help: 'Files with paid results in the folder of this worker: waiting for Redis, or set aside for good.',
    labelNames: ['state'] as const,
    registers: [registry],
    async collect() {
      const { waiting, setAside } = await deps.spooled()
      this.set({ state: 'waiting' }, waiting)
      this.set({ state: 'set_aside' }, setAside)
    },
  })
}
