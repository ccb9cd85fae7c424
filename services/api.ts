import { randomUUIDv7 } from 'node:crypto'
import { resolve } from 'node:path'
import { buildApp } from '../api/app.ts'
import { defaultApiLimits } from '../api/deps.ts'
import { createOverviewHistory } from '../api/overview/history.ts'
import { createKeyring, type Keyring } from '../config/tenants.ts'
import { isHistoryUnavailable } from '../history/errors.ts'
import { NotDurableError } from '../jobs/durability.ts'
import { tenantRoot } from '../jobs/keys.ts'
import { readMaintainer } from '../jobs/maintainer-lease.ts'
import { createProviderState } from '../jobs/provider-state.ts'
import { isRedisUnavailable } from '../lib/redis.ts'
import { refuseListening } from '../lib/system-refusal.ts'
import type { Closers, Service } from './closers.ts'
import { confirmed, requireDurable } from './durability.ts'
import { checkFileStore } from './file-stores.ts'
import { openLaneControl } from './lane-control.ts'
import { createStoreReader } from './metrics.ts'
import { createPermits } from './permits.ts'
import { followRegistry } from './registry.ts'
import { type MeteredDeps, openStore } from './store.ts'
import { createSubmission } from './submission.ts'
import { keepGroupsMoved, keepTenants } from './tenants.ts'
import { openStateRequests, openTokenCounter } from './token-counter.ts'
import { openTraces } from './tracing.ts'

/**
 * Limit of connections that wait to be accepted. With Node's default of 511, 5,000 clients that reconnect at once need up to 8 s (TCP
 * repeats after 1, 3 and 7 s); with this limit 3 s. The system may allow less (`net.core.somaxconn`).
 */
const BACKLOG = 4096

/** The HTTP side; it listens when this resolves. */
export async function putApiTogether(deps: MeteredDeps, closers: Closers): Promise<Service> {
  const { config, log } = deps
  const traces = await openTraces(deps, 'api', closers)
  const store = openStore(deps, 'api', closers)
  const followed = followRegistry(deps, store, closers)
  const buildKeyring = () => createKeyring(config.current(), followed.keys(), store.now)
  let keyring: Keyring = buildKeyring()
  const renew = () => {
    keyring = buildKeyring()
  }
  const leaves = [config.subscribe(renew), followed.subscribe(renew)]
  closers.add('the configuration', async () => leaves.forEach((leave) => void leave()))
  keepTenants(deps, store, closers)
  keepGroupsMoved(store, closers)
  await store.clock.measure()

  if (store.durability) await requireDurable(store.durability, log)
  await checkFileStore(store.fileStores)
  const lanes = openLaneControl(config, store)
  deps.metrics.watchStore(createStoreReader(deps, store, lanes, followed.keys))
  const app = buildApp({
    store: {
      jobs: traces.jobs(store.jobs),
      events: store.events,
      files: confirmed(store.files, ['create'], store.durability),
      fileLinks: store.fileLinks,
      fileContents: store.fileContents,
      batches: confirmed(store.batches, ['create'], store.durability),
      durable: confirmed(store.durable, ['begin', 'signal'], store.durability),
      schedules: confirmed(store.schedules, ['create', 'change', 'remove'], store.durability),
      flows: confirmed(store.flows, ['create', 'signal'], store.durability),
      webhooks: store.webhooks,
    },
    tenants: {
      keyring: () => keyring,
      freshenKeys: followed.freshen,
      madeKeys: followed.keys,
      registry: followed.registry,
      configured: () => config.configured(),
      stats: store.tenantStats,
      pauses: store.tenantPauses,
      budgets: store.budgets,
    },
    submission: createSubmission(config, store.gathering.turnaround),
    lanes,
    providers: {
      state: createProviderState({
        redis: store.redis,
        root: (tenant) => tenantRoot(store.prefix, tenant),
      }),
      requests: openStateRequests(deps, closers),
      takePermit: createPermits(store.gate),
      countTokens: openTokenCounter(deps, store.now, closers),
    },
    history: { usage: store.history?.usage ?? null, state: store.history?.state ?? null },
    overview: {
      history: createOverviewHistory(store),
      readMaintainer: () => readMaintainer(store.redis, store.prefix),
      providerBatches: store.providerBatches,
    },
    server: {
      version: deps.version,
      log,
      metrics: { ...deps.metrics.http, render: deps.metrics.render },
      traceRequest: traces.request ?? null,
      ready: store.watch.look,
      isMemoryShort: store.memory.isShort,
      isUnavailable: (error) =>
        error instanceof NotDurableError || isHistoryUnavailable(error) || isRedisUnavailable(error),
      createId: () => `req_${randomUUIDv7().replaceAll('-', '')}`,
      folders: {
        dashboard: resolve(import.meta.dirname, '../dashboard/dist'),
        guide: resolve(import.meta.dirname, '../site/dist'),
      },
      limits: defaultApiLimits,
    },
    config: () => config.current(),
    now: store.now,
  })
  const { host, port } = config.current().server
  const url = await app.listen({ host, port, backlog: BACKLOG }).catch((error: unknown) => {
    const settings = { host: 'server.host or HOST', port: 'server.port, PORT or --port' }
    throw refuseListening(error, { host, port }, settings)
  })
  closers.add('the http server', () => app.close())
  return { name: 'api', url, close: closers.closeAll }
}
