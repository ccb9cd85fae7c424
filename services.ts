import { randomUUIDv7 } from 'node:crypto'
import { resolve } from 'node:path'
import { buildApp } from './api/app.ts'
import { createBatchLineReader, describeLineFailure, showLineResult } from './api/batches/lines.ts'
import { defaultApiLimits } from './api/deps.ts'
import { createLaneControl, type LaneControl } from './api/lanes/lanes.ts'
import { createOverviewHistory } from './api/overview/history.ts'
import { startBatchRunner } from './batches/runner/runner.ts'
import { batchChannel } from './batches/store.ts'
import { resolveModel } from './config/lanes.ts'
import type { Config } from './config/schema.ts'
import { createKeyring, type Keyring, resolveTenant } from './config/tenants.ts'
import { isHistoryUnavailable } from './history/errors.ts'
import { BUDGET_PREFIX, readBudgetEvent } from './jobs/budget-events.ts'
import { createDirectDispatch } from './jobs/direct-dispatch.ts'
import { NotDurableError } from './jobs/durability.ts'
import { createEmbeddingCache } from './jobs/embedding-cache.ts'
import { withUnparsedResult } from './jobs/job-result.ts'
import { tenantRoot, wakeChannel } from './jobs/keys.ts'
import { lockLease, placeLease } from './jobs/leases.ts'
import { readMaintainer } from './jobs/maintainer-lease.ts'
import { createPromptPrefixes } from './jobs/prompt-prefixes.ts'
import { createProviderState } from './jobs/provider-state.ts'
import { createScheduledCounts } from './jobs/scheduled-counts.ts'
import { readStoreId } from './jobs/store-id.ts'
import { createWork } from './jobs/work.ts'
import { createWorkerChannels } from './jobs/worker-channels.ts'
import { isRedisUnavailable } from './lib/redis.ts'
import { refuseListening } from './lib/system-refusal.ts'
import { createProviders } from './providers/registry.ts'
import { noteCalls } from './services/broken-calls.ts'
import { type Closers, orCloseAll } from './services/closers.ts'
import { createDeclaredSchedulesTask } from './services/declared-schedules.ts'
import { confirmed, requireDurable } from './services/durability.ts'
import { checkFileStore } from './services/file-stores.ts'
import { openFlowRunner } from './services/flows.ts'
import { openHeartbeat } from './services/heartbeat.ts'
import { openLaneLog } from './services/lane-log.ts'
import { openMaintainer } from './services/maintenance.ts'
import { createStoreReader, openListener, withMetrics } from './services/metrics.ts'
import { createOverviewHistoryTask } from './services/overview-history.ts'
import { createPermits } from './services/permits.ts'
import { openProviderBatches } from './services/provider-batches.ts'
import { readProxy } from './services/proxy.ts'
import { followRegistry } from './services/registry.ts'
import { createSchedulesTask } from './services/schedules.ts'
import { type MeteredDeps, openStore, type ServicesDeps } from './services/store.ts'
import { createSubmission } from './services/submission.ts'
import { keepGroupsMoved, keepTenants, wakeDelivery } from './services/tenants.ts'
import { openStateRequests, openTokenCounter } from './services/token-counter.ts'
import { openTraces } from './services/tracing.ts'
import { logUnpricedCalls } from './services/unpriced-log.ts'
import { createAddressGuard } from './webhooks/address-guard.ts'
import { createWebhookDelivery } from './webhooks/deliverer.ts'
import { createWebhookSender } from './webhooks/send.ts'
import { createServedLanes } from './workers/served-lanes.ts'
import { checkSpoolFolder, spoolLease, startSpool } from './workers/spool.ts'
import { startWorker, type WorkerProcess } from './workers/worker.ts'

/** A part of a process that runs: how to reach it and how to end it. */
export type Service = { name: string; url?: string; close(): Promise<void> }

/**
 * Connections that may wait to be accepted. With Node's 511, 5,000 clients that reconnect at once try for up to 8 s (TCP
 * repeats after 1, 3 and 7 s); with this for 3 s. The system may allow less (`net.core.somaxconn`).
 */
const BACKLOG = 4096

/** How often a worker looks at the webhooks of all tenants, in case a message is lost, ms. */
const LOOK_AT_WEBHOOKS_MS = 600_000

/** Opens the HTTP side and listens. */
export function openApi(deps: ServicesDeps): Promise<Service> {
  return orCloseAll(deps.log, (closers) => putApiTogether(withMetrics(deps), closers))
}

/** Opens the working side: lanes, sweeper, webhook delivery. */
export function openWorker(deps: ServicesDeps): Promise<Service> {
  return orCloseAll(deps.log, (closers) => putWorkerTogether(withMetrics(deps), closers))
}

async function putApiTogether(deps: MeteredDeps, closers: Closers): Promise<Service> {
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
        dashboard: resolve(import.meta.dirname, 'dashboard/dist'),
        guide: resolve(import.meta.dirname, 'site/dist'),
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

async function putWorkerTogether(deps: MeteredDeps, closers: Closers): Promise<Service> {
  const { config, log } = deps
  const traces = await openTraces(deps, 'worker', closers)
  const store = openStore(deps, 'worker', closers)
  const { onError, onFailure } = store

  const proxy = readProxy(config.current())
  const providers = createProviders({ config: config.current(), now: store.now, proxy })
  closers.add('the providers', () => providers.close())
  closers.add('the configuration', async () => leave())
  const leave = config.subscribe((next) => providers.update(next))

  traces.listen(store.emitter)
  noteCalls(deps, store)
  logUnpricedCalls(store.emitter, { config: () => config.current(), log })
  const work = createWork({
    redis: store.redis,
    scripts: store.scripts,
    outbox: store.outbox,
    prefix: store.prefix,
    atRest: store.atRest,
    now: store.now,
    settings: () => ({
      retainMs: store.retainMs(),
      cacheTtlMs: config.current().cache.ttl,
      cacheMaxBytes: config.current().cache.max_result,
    }),
    budgetOf: (tenant) => resolveTenant(config.current(), tenant)?.limits.budget_usd_per_day ?? null,
    putFiles: store.heldFiles.put,
    fairKeyLimitsOf: (tenant) => resolveTenant(config.current(), tenant)?.perFairKey ?? null,
    events: store.emitter,
  })
  openLaneLog(deps, store, closers)
  const prefixes = createPromptPrefixes({
    redis: store.redis,
    prefix: store.prefix,
    onError: (error, what) => log.warn({ err: error, what }, 'a prompt cache is not warmed'),
  })
  const embeddingCache = createEmbeddingCache({
    scripts: store.scripts,
    atRest: store.atRest,
    prefix: store.prefix,
    settings: () => {
      const { embedding_items, ttl, max_result } = config.current().cache
      return { isOn: embedding_items, ttlMs: ttl, maxBytes: max_result }
    },
  })
  followRegistry(deps, store, closers)
  keepTenants(deps, store, closers)
  keepGroupsMoved(store, closers)

  let health: WorkerProcess['health'] = () => ({ ok: false, reason: 'the worker starts' })
  // Before any work starts: a worker whose port is taken ends, and must lose no call.
  await openListener(deps, store, () => health(), closers)

  const sender = createWebhookSender({
    guard: createAddressGuard({
      allowPrivateAddresses: config.current().webhooks.allow_private_addresses,
      proxy,
    }),
    secrets: () => {
      const { secret } = config.current().webhooks
      return secret === undefined ? [] : [secret]
    },
    now: store.now,
    version: deps.version,
  })
  closers.add('the webhook sender', () => sender.close())
  const delivery = createWebhookDelivery(
    {
      store: store.webhooks,
      sender: traces.sender(sender),
      settings: () => ({
        schedule: config.current().webhooks.schedule,
        linkBase: linkBase(config.current()),
      }),
      tenants: store.maintenance.tenants,
      loadSubject: async ({ tenant, jobId: id, event }) => {
        if (id.startsWith('flow_')) return store.flows.get(tenant, id)
        if (id.startsWith(BUDGET_PREFIX))
          return readBudgetEvent(store.redis, tenantRoot(store.prefix, tenant), id, event)
        const job = await store.jobs.get(tenant, id)
        return job && withUnparsedResult(job)
      },
      log,
      now: store.now,
      events: store.emitter,
      onFailure,
      isStoreThere: store.watch.isThere,
    },
    // The maintainer announces due work.
    { pollMs: LOOK_AT_WEBHOOKS_MS },
  )
  delivery.start()
  closers.add('webhook delivery', () => delivery.stop())
  wakeDelivery(deps, store, delivery.wake, closers)

  const folder = resolve(config.current().worker.spool)
  await checkSpoolFolder(folder, onError)
  await checkFileStore(store.fileStores)
  const spool = startSpool({
    folder,
    storeId: () => readStoreId(store.redis, store.prefix),
    restore: work.restore,
    onError,
    leaseMs: spoolLease(lockLease(config.current().jobs.stalled_after)),
  })
  closers.add('the spool', () => spool.stop())
  const heartbeat = openHeartbeat(deps, store, onError)
  closers.add('the heartbeat', () => heartbeat.stop())
  // Redis' clock decides what is due: nothing begins before it is known, and nobody waits here for an unavailable Redis.
  await store.clock.measure()
  let isClockKnown = false
  store.clock.known().then(() => {
    isClockKnown = true
  })
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
    store: {
      ...{ work, embeddingCache, prefixes, files: store.files, heldFiles: store.heldFiles },
      spool: { put: spool.put, isRecovering: () => !isClockKnown || spool.isRecovering() },
      isThere: store.watch.isThere,
    },
    gate: store.gate,
    heartbeat,
    now: store.now,
    onError,
    events: store.emitter,
  })
  closers.add('the worker', () => worker.stop())
  health = worker.health
  deps.metrics.watchWorker({ isHealthy: () => health().ok, spooled: spool.count })
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

  const runner = startBatchRunner({
    work: store.batchWork,
    files: store.files,
    jobs,
    lines: createBatchLineReader({
      submission: createSubmission(config, store.gathering.turnaround),
      config: () => config.current(),
      now: store.now,
    }),
    describeFailure: describeLineFailure,
    showResult: showLineResult,
    tenants: store.batchTenants.list,
    maxQueued: (tenant) => resolveTenant(config.current(), tenant)?.limits.max_queued ?? null,
    gatherWindow: (model) => {
      const lane = resolveModel(config.current(), model)?.lanes[0]
      return lane?.tiers?.batch ? lane.tiers.batch.max_lines : null
    },
    fileRetainMs: () => config.current().files.retain,
    now: store.now,
    onError,
    onFailure,
  })
  closers.add('the batches', () => runner.stop())
  openProviderBatches(deps, store, { work, embeddingCache, spool, proxy, traces }, closers)
  store.pubsub.keepListening(batchChannel(store.prefix), (id) => runner.wake(id))
  openFlowRunner(deps, store, traces, closers)
  return { name: 'worker', close: closers.closeAll }
}

function linkBase(config: Config): string {
  const { host, port, public_url } = config.server
  if (public_url !== undefined) return public_url
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Reading and steering lanes, over what all processes share. */
function openLaneControl(config: ServicesDeps['config'], store: ReturnType<typeof openStore>): LaneControl {
  return createLaneControl({
    config: () => config.current(),
    gate: store.gate,
    queues: store.queues,
    fairness: store.fairness,
    forecaster: store.forecaster,
    latencies: store.latencies,
    brokenCalls: store.brokenCalls,
    scheduled: createScheduledCounts({ ...store, tenants: store.maintenance.tenants }),
    wake: (lane) => store.redis.publish(wakeChannel(store.prefix), lane),
    now: store.now,
  })
}
