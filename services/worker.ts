import { randomUUIDv7 } from 'node:crypto'
import { createOverviewHistory } from '../api/overview/history.ts'
import { createDirectDispatch } from '../jobs/direct-dispatch.ts'
import { placeLease } from '../jobs/leases.ts'
import { createWorkerChannels } from '../jobs/worker-channels.ts'
import { createProviders } from '../providers/registry.ts'
import { createServedLanes } from '../workers/served-lanes.ts'
import { startWorker, type WorkerProcess } from '../workers/worker.ts'
import { openBatchRunner } from './batches.ts'
import { noteCalls } from './broken-calls.ts'
import { openCallStore } from './call-store.ts'
import type { Closers, Service } from './closers.ts'
import { createDeclaredSchedulesTask } from './declared-schedules.ts'
import { openFlowRunner } from './flows.ts'
import { openHeartbeat } from './heartbeat.ts'
import { openLaneControl } from './lane-control.ts'
import { openLaneLog } from './lane-log.ts'
import { openMaintainer } from './maintenance.ts'
import { openListener } from './metrics.ts'
import { createOverviewHistoryTask } from './overview-history.ts'
import { openProviderBatches } from './provider-batches.ts'
import { readProxy } from './proxy.ts'
import { followRegistry } from './registry.ts'
import { createSchedulesTask } from './schedules.ts'
import { type MeteredDeps, openStore } from './store.ts'
import { keepGroupsMoved, keepTenants } from './tenants.ts'
import { openTraces } from './tracing.ts'
import { logUnpricedCalls } from './unpriced-log.ts'
import { openWebhookDelivery } from './webhook-delivery.ts'

/** The working side: lanes, the maintainer, webhooks, batches, flows. */
export async function putWorkerTogether(deps: MeteredDeps, closers: Closers): Promise<Service> {
  const { config, log } = deps
  const traces = await openTraces(deps, 'worker', closers)
  const store = openStore(deps, 'worker', closers)
  const { onError } = store

  const proxy = readProxy(config.current())
  const providers = createProviders({ config: config.current(), now: store.now, proxy })
  closers.add('the providers', () => providers.close())
  closers.add('the configuration', async () => leave())
  const leave = config.subscribe((next) => providers.update(next))

  traces.listen(store.emitter)
  noteCalls(deps, store)
  logUnpricedCalls(store.emitter, { config: () => config.current(), log })
  openLaneLog(deps, store, closers)
  followRegistry(deps, store, closers)
  keepTenants(deps, store, closers)
  keepGroupsMoved(store, closers)

  let health: WorkerProcess['health'] = () => ({ ok: false, reason: 'the worker starts' })
  // Before any work starts: a worker whose port is in use exits, and must not lose a call.
  await openListener(deps, store, () => health(), closers)

  openWebhookDelivery(deps, store, { proxy, traces }, closers)
  const { callStore, countSpooled } = await openCallStore(deps, store, closers)
  const heartbeat = openHeartbeat(deps, store, onError)
  closers.add('the heartbeat', () => heartbeat.stop())
  // Redis' clock decides what is due, so work starts only when it is known. An unavailable Redis does not delay the start.
  await store.clock.measure()
  const name = randomUUIDv7()
  const worker = await startWorker({
    lanes: createServedLanes({ config: () => config.current(), provider: providers.get }),
    queues: store.queues,
    directDispatch: createDirectDispatch({
      outbox: store.outbox,
      leaseMs: placeLease(config.current().jobs.stalled_after),
      worker: name,
    }),
    channels: createWorkerChannels({
      pubsub: store.pubsub,
      publish: (channel, message) => store.redis.publish(channel, message),
      prefix: store.prefix,
      worker: name,
    }),
    store: callStore,
    gate: store.gate,
    heartbeat,
    now: store.now,
    onError,
    events: store.emitter,
  })
  closers.add('the worker', () => worker.stop())
  health = worker.health
  deps.metrics.watchWorker({ isHealthy: () => health().ok, spooled: countSpooled })
  const maintainer = openMaintainer(deps, store, name, closers)
  const jobs = traces.jobs(store.jobs)
  const lanes = openLaneControl(config, store)
  maintainer.add(createSchedulesTask(deps, store, jobs, lanes))
  maintainer.add(createDeclaredSchedulesTask(deps, store))
  maintainer.add(
    createOverviewHistoryTask({
      history: createOverviewHistory(store),
      lanes,
      tenantStats: store.tenantStats,
      tenants: store.maintenance.tenants,
      activeTenants: store.active.list,
      now: store.now,
    }),
  )

  openBatchRunner(deps, store, jobs, closers)
  openProviderBatches(deps, store, { callStore, proxy, traces }, closers)
  openFlowRunner(deps, store, traces, closers)
  return { name: 'worker', close: closers.closeAll }
}
