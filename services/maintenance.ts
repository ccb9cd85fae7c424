import { hostname } from 'node:os'
import { trimReferences } from '../events/retention.ts'
import { flowsChannel } from '../flows/keys.ts'
import { tenantRoot, webhookChannel } from '../jobs/keys.ts'
import { createMaintainerLease } from '../jobs/maintainer-lease.ts'
import { createRetention } from '../jobs/retention.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { visitAll } from '../lib/visit-all.ts'
import { MAINTAINER_LEASE_MS, type Maintainer, startMaintainer } from '../workers/maintainer.ts'
import type { Closers } from './closers.ts'
import { createRedriveTask } from './redrive.ts'
import { createResealTask } from './reseal-task.ts'
import type { MeteredDeps, openStore } from './store.ts'

/** Interval of checks for tenants whose turn has come, ms. */
const WATCH_MS = 250
/** Intervals of checks for known due work, for work that is not urgent and for work that is, ms. They cost nothing while nothing is due. */
const SOON_MS = 100
const LATER_MS = 1000

/** Interval of checks for useless hints, ms. */
const TRIM_MS = 60_000

/** Interval of checks for unknown objects in file stores, ms. */
const DAY_MS = 24 * 60 * 60_000

type Store = ReturnType<typeof openStore>

/**
 * Takes part in the election of the maintainer, and gives it the work for all tenants. Parts add their periodic work with `maintainer.add({
 * name, everyMs, run })`.
 *
 * @param worker identifies the worker of this process among all
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

  const { onFailure } = store
  const { watch, sweepOutboxes, expireDeadlines, endFollowers } = store.maintenance
  maintainer.add({ name: 'watch', everyMs: WATCH_MS, run: watch.look })
  maintainer.add({ name: 'outboxes', everyMs: SOON_MS, run: sweepOutboxes })
  maintainer.add({ name: 'deadlines', everyMs: SOON_MS, run: expireDeadlines })
  maintainer.add({ name: 'followers', everyMs: LATER_MS, run: endFollowers })
  maintainer.add({ name: 'active-tenants', everyMs: TRIM_MS, run: store.active.trim })
  maintainer.add({
    name: 'webhooks',
    everyMs: WATCH_MS,
    run: () => tellWorkers(store, 'webhooks', webhookChannel),
  })
  maintainer.add({ name: 'flows', everyMs: WATCH_MS, run: () => tellWorkers(store, 'flows', flowsChannel) })
  maintainer.add({
    name: 'batches',
    everyMs: LATER_MS,
    run: () => store.batchTenants.add(watch.take('batches')),
  })
  maintainer.add({
    name: 'batch-tenants',
    everyMs: TRIM_MS,
    run: async () => store.batchTenants.trim(new Set(await store.active.list())),
  })
  maintainer.add(createRetentionTask(store))
  for (const task of store.history?.createTasks(store, onFailure) ?? []) maintainer.add(task)
  maintainer.add(createFilesTask(store))
  maintainer.add({ name: 'file-orphans', everyMs: DAY_MS, run: store.files.sweepOrphans })
  maintainer.add(createEventsTask(store))
  maintainer.add(createRedriveTask(deps, store))
  maintainer.add(createResealTask({ ...store, log, tenants: store.maintenance.tenants }))
  return maintainer
}

function createRetentionTask(store: Store): PeriodicTask {
  const retention = createRetention({
    ...store,
    tenants: async () => store.maintenance.watch.take('retention'),
    onError: (error, tenant) => store.onFailure({ task: 'retention', tenant, error }),
  })
  return { name: 'retention', everyMs: LATER_MS, run: retention.run }
}

function createFilesTask({ files, heldFiles, maintenance, onFailure }: Store): PeriodicTask {
  return {
    name: 'files',
    everyMs: 60_000,
    async run(signal) {
      const sweep = async (tenant: string) => {
        if (signal.aborted) return
        await files.sweep(tenant)
        await heldFiles.sweep(tenant)
      }
      const onTenant = (error: unknown, tenant: string) => onFailure({ task: 'files', tenant, error })
      await visitAll(await maintenance.tenants(), sweep, onTenant)
    },
  }
}

/** Removes old references to events of all tenants. */
function createEventsTask(store: Store): PeriodicTask {
  return {
    name: 'events',
    everyMs: 60 * 60_000,
    async run(signal) {
      const trim = async (tenant: string) => {
        if (!signal.aborted) await trimReferences(store, tenantRoot(store.prefix, tenant))
      }
      const onTenant = (error: unknown, tenant: string) => store.onFailure({ task: 'events', tenant, error })
      await visitAll(await store.maintenance.tenants(), trim, onTenant)
    },
  }
}

/** Workers send webhooks and advance flows; this wakes them for due work. */
async function tellWorkers(
  { redis, prefix, maintenance, onFailure }: Store,
  kind: 'webhooks' | 'flows',
  channelOf: (root: string) => string,
): Promise<void> {
  const tell = (tenant: string) => redis.publish(channelOf(tenantRoot(prefix, tenant)), '')
  const fail = (error: unknown, tenant: string) => onFailure({ task: kind, tenant, error })
  await visitAll(maintenance.watch.take(kind), tell, fail, { endsWithStore: true })
}
