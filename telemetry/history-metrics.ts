import { Counter, Gauge, type Registry } from '@prometheus-io/client'

/** Metrics of the database of finished jobs. */
export function createHistoryMetrics(registry: Registry) {
  const moved = new Counter({
    name: 'sluice_history_jobs_total',
    help: 'Finished jobs that this worker copied to the history.',
    registers: [registry],
  })
  const stores: (() => boolean)[] = []
  return {
    onMoved: (jobs: number): void => moved.inc(jobs),
    /**
     * Adds the availability of the history to each scrape. If API and worker are one process, each has its own store, and the history is up
     * if it answers both.
     */
    watch(isUp: () => boolean): void {
      stores.push(isUp)
      if (stores.length > 1) return
      new Gauge({
        name: 'sluice_history_up',
        help: 'Whether the database of finished jobs answered the last request of this process, 1 or 0.',
        registers: [registry],
        collect() {
          this.set(stores.every((isUp) => isUp()) ? 1 : 0)
        },
      })
    },
  }
}
