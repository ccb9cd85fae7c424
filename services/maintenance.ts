import { hostname } from 'node:os'
import { createMaintainerLease } from '../jobs/maintainer-lease.ts'
import { createRetention } from '../jobs/retention.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { visitAll } from '../lib/visit-all.ts'
import { MAINTAINER_LEASE_MS, type Maintainer, startMaintainer } from '../workers/maintainer.ts'
import type { Closers } from './closers.ts'
import { createRedriveTask } from './redrive.ts'
import type { MeteredDeps, openStore } from './store.ts'

type Store = ReturnType<typeof openStore>

/**
 * Stands for election as the maintainer, and has it do what is to be done for all tenants. A part with periodic work of its own adds
 * it: `maintainer.add({ name, everyMs, run })`.
 *
 * @param worker of this process, among all
 */
export function openMaintainer(
  deps: MeteredDeps,
  store: Store,
  worker: string,
  closers: Closers,
): Maintainer {
  const { log, metrics } = deps
  const shown = `${hostname()}:${process.pid}`
  const maintainer = startMaintainer({
    lease: createMaintainerLease({ ...store, worker, shown, leaseMs: MAINTAINER_LEASE_MS }),
    onChange: (isElected) =>
      log.info(
        { worker: shown },
        isElected ? 'this worker is the maintainer now' : 'this worker is not the maintainer any more',
      ),
    onOther: (holder) => log.info({ maintainer: holder.worker }, 'another worker is the maintainer'),
    onRun: (task, durationMs, error) => metrics.upkeep.onRun(task, durationMs, error !== undefined),
    onError: store.onError,
  })
  metrics.upkeep.watchMaintainer(maintainer.isElected)
  closers.add('the maintainer', () => maintainer.stop())

  maintainer.add({ name: 'sweep', everyMs: 1000, run: store.maintenance.sweep })
  maintainer.add(createRetentionTask(store))
  maintainer.add(createFilesTask(store))
  maintainer.add(createRedriveTask(deps, store))
  return maintainer
}

function createRetentionTask(store: Store): PeriodicTask {
  const retention = createRetention({
    ...store,
    tenants: store.maintenance.tenants,
    onError: (error, tenant) => store.onFailure({ task: 'retention', tenant, error }),
  })
  return { name: 'retention', everyMs: 1000, run: retention.run }
}

function createFilesTask({ files, maintenance, onFailure }: Store): PeriodicTask {
  return {
    name: 'files',
    everyMs: 60_000,
    async run(signal) {
      const sweep = async (tenant: string) => {
        if (!signal.aborted) await files.sweep(tenant)
      }
      const onTenant = (error: unknown, tenant: string) => onFailure({ task: 'files', tenant, error })
      await visitAll(await maintenance.tenants(), sweep, onTenant)
    },
  }
}
