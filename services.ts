import { randomUUIDv7 } from 'node:crypto'
import { resolve } from 'node:path'
import type { Logger } from 'pino'
import { buildApp } from './api/app.ts'
import { createBatchLineReader, describeLineFailure, showLineResult } from './api/batch-lines.ts'
import { createLaneControl } from './api/lanes.ts'
import type { SubmitDeps } from './api/submit.ts'
import { batchChannel } from './batches/store.ts'
import { resolveLane, resolveModel } from './config/lanes.ts'
import { ConfigError } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { createKeyring, type Keyring, resolveTenant } from './config/tenants.ts'
import type { LiveConfig } from './config/watch.ts'
import { type Durability, NotDurableError } from './jobs/durability.ts'
import { createExpress, expressLease } from './jobs/express.ts'
import { createItems } from './jobs/items.ts'
import { openLanesChannel, tenantRoot, tenantsKey, wakeChannel, webhookChannel } from './jobs/keys.ts'
import { createLeases } from './jobs/leases.ts'
import { lockLease } from './jobs/queue.ts'
import { readStoreId } from './jobs/store-id.ts'
import { createWork } from './jobs/work.ts'
import { isRedisUnavailable } from './lib/redis.ts'
import { estimateCost } from './providers/accounting.ts'
import { coalesceKey } from './providers/embeddings.ts'
import { createProviders } from './providers/registry.ts'
import { createClosers } from './services/closers.ts'
import { openStore, type ServicesDeps } from './services/store.ts'
import { createAddressGuard } from './webhooks/address-guard.ts'
import { createWebhookSender } from './webhooks/send.ts'
import { startBatchRunner } from './workers/batch-runner.ts'
import { type Heartbeat, renewInterval, startHeartbeat } from './workers/heartbeat.ts'
import { createRenewal } from './workers/renewal.ts'
import { startSpool } from './workers/spool.ts'
import { createWebhookDelivery } from './workers/webhook-delivery.ts'
import { startWorker } from './workers/worker.ts'

/** A part of a process that runs: how to reach it and how to end it. */
export type Service = { name: string; url?: string; close(): Promise<void> }

/**
 * Connections that may wait to be accepted. With Node's 511, 5,000 clients that come back at once knock for up to 8 s (TCP
 * repeats after 1, 3 and 7 s); with this for 3 s. The system may allow less (`net.core.somaxconn`).
 */
const BACKLOG = 4096

/** Tenants that the configuration names, the one of an open service included. */
function tenantNames(config: Config): string[] {
  const names = Object.keys(config.tenants)
  return names.length > 0 ? names : ['default']
}

/** Opens the HTTP side and listens. */
export async function openApi(deps: ServicesDeps): Promise<Service> {
  const { config, log } = deps
  const closers = createClosers(log)
  const store = openStore(deps, 'api', closers)
  let keyring: Keyring = createKeyring(config.current())
  const register = () =>
    store.maintenance
      .register(tenantNames(config.current()))
      .catch((error) => log.warn({ err: error }, 'registering tenants'))
  const leave = config.subscribe((next) => {
    keyring = createKeyring(next)
    register()
  })
  closers.add('the configuration', async () => leave())
  await register()

  if (store.durability) await requireDurable(store.durability, log)
  const app = buildApp({
    jobs: store.jobs,
    files: confirmed(store.files, ['create'], store.durability),
    batches: confirmed(store.batches, ['create'], store.durability),
    lanes: createLaneControl({
      config: () => config.current(),
      gate: store.gate,
      queues: store.queues,
      fairness: store.fairness,
      latencies: store.latencies,
      wake: (lane) => store.redis.publish(wakeChannel(store.prefix), lane),
    }),
    forecast: async (lane, tenant, priority) => {
      const { startAt } = await store.foresight.newcomer(lane, tenant, priority)
      return startAt
    },
    config: () => config.current(),
    keyring: () => keyring,
    ...createSubmission(config),
    ready: async () => {
      try {
        // A read, for a node of a cluster answers PING also when the cluster is down.
        await store.redis.exists(tenantsKey(store.prefix))
        return { ok: true }
      } catch {
        return { ok: false, reason: 'redis does not answer' }
      }
    },
    isMemoryShort: store.memory.isShort,
    isUnavailable: (error) => error instanceof NotDurableError || isRedisUnavailable(error),
    log,
    createId: () => `req_${randomUUIDv7().replaceAll('-', '')}`,
    version: deps.version,
  })
  const { host, port } = config.current().server
  const url = await app.listen({ host, port, backlog: BACKLOG })
  closers.add('the http server', () => app.close())
  return { name: 'api', url, close: closers.closeAll }
}

/** A Redis that would lose what it acknowledged is a fault of the configuration; one that is away may come. */
async function requireDurable(durability: Durability, log: Logger): Promise<void> {
  try {
    if ((await durability.check()) === 'unknown') {
      log.warn('redis.durable: Redis does not let this user look whether appendfsync is always (CONFIG GET)')
    }
  } catch (error) {
    if (error instanceof NotDurableError) throw new ConfigError([`redis.durable: ${error.message}`])
    log.warn({ err: error }, 'looking whether Redis is durable failed')
  }
}

/** The same store, with methods that answer only when what they wrote is on disk. */
function confirmed<Store extends object>(
  store: Store,
  methods: (keyof Store)[],
  durability: Durability | null,
): Store {
  if (!durability) return store
  const wrapped = { ...store }
  for (const name of methods) {
    const method = store[name] as (...args: unknown[]) => Promise<unknown>
    const confirming = async (...args: unknown[]) => {
      const answer = await method(...args)
      await durability.confirm()
      return answer
    }
    wrapped[name] = confirming as Store[typeof name]
  }
  return wrapped
}

/** Opens the working side: lanes, sweeper, webhook delivery. */
export async function openWorker(deps: ServicesDeps): Promise<Service> {
  const { config, log } = deps
  const closers = createClosers(log)
  const store = openStore(deps, 'worker', closers)
  const onError = (error: unknown, what: string) => log.warn({ err: error }, `${what} failed`)

  const providers = createProviders({ config: config.current() })
  closers.add('the providers', () => providers.close())
  closers.add('the configuration', async () => leave())
  const leave = config.subscribe((next) => providers.update(next))

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
  })
  const items = createItems({
    scripts: store.scripts,
    atRest: store.atRest,
    prefix: store.prefix,
    settings: () => {
      const { embedding_items, ttl, max_result } = config.current().cache
      return { isOn: embedding_items, ttlMs: ttl, maxBytes: max_result }
    },
  })
  await store.maintenance
    .register(tenantNames(config.current()))
    .catch((error) => onError(error, 'registering tenants'))

  const sender = createWebhookSender({
    guard: createAddressGuard({ allowPrivateAddresses: config.current().webhooks.allow_private_addresses }),
    secrets: () => {
      const { secret } = config.current().webhooks
      return secret === undefined ? [] : [secret]
    },
    now: store.now,
    version: deps.version,
  })
  closers.add('the webhook sender', () => sender.close())
  const delivery = createWebhookDelivery({
    store: store.webhooks,
    sender,
    schedule: () => config.current().webhooks.schedule,
    tenants: store.maintenance.tenants,
    loadJob: store.jobs.get,
    linkBase: () => linkBase(config.current()),
    log,
    now: store.now,
    random: Math.random,
  })
  delivery.start()
  closers.add('webhook delivery', () => delivery.stop())
  for (const tenant of tenantNames(config.current())) {
    await store.live.listen(webhookChannel(tenantRoot(store.prefix, tenant)), () => delivery.wake())
  }

  const spool = startSpool({
    folder: resolve(config.current().worker.spool),
    storeId: () => readStoreId(store.redis, store.prefix),
    restore: work.restore,
    onError,
  })
  closers.add('the spool', () => spool.stop())
  const heartbeat = openHeartbeat(deps, store, onError)
  closers.add('the heartbeat', () => heartbeat.stop())
  const name = randomUUIDv7()
  const worker = await startWorker({
    config: () => config.current(),
    prefix: store.prefix,
    queues: store.queues,
    name,
    express: createExpress({
      outbox: store.outbox,
      leaseMs: expressLease(config.current().jobs.stalled_after),
      worker: name,
    }),
    announce: (lanes) => store.redis.publish(openLanesChannel(store.prefix), [name, ...lanes].join(' ')),
    work,
    items,
    gate: store.gate,
    heartbeat,
    spool,
    live: store.live,
    maintenance: store.maintenance,
    provider: (name) => providers.get(name),
    knownLanes: store.queues.lanes,
    note: (lane, waitingFor) => {
      store.fairness.note(lane, waitingFor).catch((error) => onError(error, 'noting what a lane waits for'))
    },
    everyMinute: async () => {
      for (const tenant of await store.maintenance.tenants()) await store.files.sweep(tenant)
    },
    now: store.now,
    random: Math.random,
    onError,
    onCall: (call) => {
      store.latencies.record(call.lane, call.latencyMs)
      log.debug(call, 'provider call')
    },
  })
  closers.add('the worker', () => worker.stop())

  const runner = startBatchRunner({
    work: store.batchWork,
    files: store.files,
    jobs: store.jobs,
    lines: createBatchLineReader({ ...createSubmission(config), config: () => config.current() }),
    describeFailure: describeLineFailure,
    showResult: showLineResult,
    tenants: store.maintenance.tenants,
    maxQueued: (tenant) => resolveTenant(config.current(), tenant)?.limits.max_queued ?? null,
    fileRetainMs: () => config.current().files.retain,
    now: store.now,
    onError,
  })
  closers.add('the batches', () => runner.stop())
  await store.live.listen(batchChannel(store.prefix), (id) => runner.wake(id))
  return { name: 'worker', close: closers.closeAll }
}

/** One thread a process renews what its lanes hold. */
function openHeartbeat(
  { config }: ServicesDeps,
  { redis, prefix, gate }: ReturnType<typeof openStore>,
  onError: (error: unknown, what: string) => void,
): Heartbeat {
  const settings = config.current()
  const { url, cluster, tls } = settings.redis
  const lockMs = lockLease(settings.jobs.stalled_after)
  const placeMs = expressLease(settings.jobs.stalled_after)
  const renewMs = renewInterval(lockMs)
  return startHeartbeat({
    renewal: createRenewal({ leases: createLeases({ redis, prefix, lockMs, placeMs }), gate }),
    renewMs,
    limitsOf: (lane) => resolveLane(config.current(), lane)?.limits ?? null,
    thread: {
      redis: {
        ...(url === undefined ? {} : { url }),
        ...(cluster === undefined ? {} : { cluster }),
        ...(tls === undefined ? {} : { tls }),
      },
      prefix,
      lockMs,
      placeMs,
      renewMs,
      hungMs: settings.worker.hung_after,
    },
    onError,
  })
}

/** What makes a job of a request, wherever the request came from. */
function createSubmission(config: LiveConfig): SubmitDeps {
  return {
    resolveModel: (model) => resolveModel(config.current(), model),
    estimateCost: (lane, type, body) => ({
      ...estimateCost({ kind: lane.kind, type, body }),
      coalesceKey: type === 'embedding' ? coalesceKey(body) : null,
    }),
    checkWebhookUrl: (url) => {
      const { secret, allow_private_addresses } = config.current().webhooks
      if (secret === undefined) {
        return { ok: false, reason: 'cannot be signed: the configuration has no webhooks.secret' }
      }
      return createAddressGuard({ allowPrivateAddresses: allow_private_addresses }).checkUrl(url)
    },
    now: Date.now,
  }
}

function linkBase(config: Config): string {
  const { host, port, public_url } = config.server
  if (public_url !== undefined) return public_url
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
