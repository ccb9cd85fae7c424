import { randomUUIDv7 } from 'node:crypto'
import { resolve } from 'node:path'
import type { Logger } from 'pino'
import { buildApp } from './api/app.ts'
import { createBatchLineReader, describeLineFailure, showLineResult } from './api/batch-lines.ts'
import { createLaneControl } from './api/lanes.ts'
import type { SubmitDeps } from './api/submit.ts'
import { createBatchScripts } from './batches/scripts.ts'
import { batchChannel, createBatches } from './batches/store.ts'
import { createBatchWork } from './batches/work.ts'
import { decodeEncryptionKey } from './config/encryption-key.ts'
import { resolveLane, resolveModel } from './config/lanes.ts'
import { ConfigError } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { createKeyring, type Keyring, resolveTenant } from './config/tenants.ts'
import type { LiveConfig } from './config/watch.ts'
import { createFileStore } from './files/store.ts'
import { type Answers, createAnswers } from './jobs/answers.ts'
import { type AtRest, createAtRest } from './jobs/at-rest.ts'
import { createDurability, type Durability, NotDurableError } from './jobs/durability.ts'
import { createExpress, expressLease } from './jobs/express.ts'
import { createItems } from './jobs/items.ts'
import { openLanesChannel, tenantRoot, tenantsKey, wakeChannel, webhookChannel } from './jobs/keys.ts'
import { createLeases } from './jobs/leases.ts'
import { createLive, type Live } from './jobs/live.ts'
import { createMaintenance } from './jobs/maintenance.ts'
import { createMemory } from './jobs/memory.ts'
import { createOpenLanes, type OpenLanes } from './jobs/open-lanes.ts'
import { createOutbox } from './jobs/outbox.ts'
import { createQueues, lockLease } from './jobs/queue.ts'
import { createRoom } from './jobs/room.ts'
import { createScripts } from './jobs/scripts.ts'
import { createJobs } from './jobs/service.ts'
import { readStoreId } from './jobs/store-id.ts'
import { createWork } from './jobs/work.ts'
import { createIds, createJobIds } from './lib/job-id.ts'
import { closeRedis, createRedis, isRedisUnavailable, type RedisClient, type RedisRole } from './lib/redis.ts'
import { createSealer } from './lib/sealer.ts'
import { estimateCost } from './providers/accounting.ts'
import { coalesceKey } from './providers/embeddings.ts'
import { createProviders } from './providers/registry.ts'
import { renderResult } from './providers/vectors.ts'
import { createFairness, priorityOf, serviceSeconds, serviceShares } from './ratelimit/fairness.ts'
import { createForesight } from './ratelimit/foresight.ts'
import { createGate } from './ratelimit/gate.ts'
import { createLatencies } from './ratelimit/latencies.ts'
import { createAddressGuard } from './webhooks/address-guard.ts'
import { createWebhookSender } from './webhooks/send.ts'
import { createWebhookStore } from './webhooks/store.ts'
import { startBatchRunner } from './workers/batch-runner.ts'
import { type Heartbeat, renewInterval, startHeartbeat } from './workers/heartbeat.ts'
import { createRenewal } from './workers/renewal.ts'
import { startSpool } from './workers/spool.ts'
import { createWebhookDelivery } from './workers/webhook-delivery.ts'
import { startWorker } from './workers/worker.ts'

/** A part of a process that runs: how to reach it and how to end it. */
export type Service = { name: string; url?: string; close(): Promise<void> }

export type ServicesDeps = { config: LiveConfig; log: Logger; version: string }

/** Closes what was opened, last first; every closer runs, whatever another throws. */
function createClosers(log: Logger) {
  const closers: { name: string; close: () => Promise<unknown> }[] = []
  return {
    add: (name: string, close: () => Promise<unknown>) => closers.push({ name, close }),
    async closeAll(): Promise<void> {
      for (const { name, close } of closers.splice(0).reverse()) {
        try {
          await close()
        } catch (error) {
          log.warn({ err: error }, `closing ${name} failed`)
        }
      }
    },
  }
}

/**
 * Connections that may wait to be accepted. With Node's 511, 5,000 clients that come back at once knock for up to 8 s (TCP
 * repeats after 1, 3 and 7 s); with this for 3 s. The system may allow less (`net.core.somaxconn`).
 */
const BACKLOG = 4096

/** What both roles need: connections, the job store, the gate. */
function openStore(
  { config, log }: ServicesDeps,
  role: 'api' | 'worker',
  closers: ReturnType<typeof createClosers>,
) {
  const settings = () => config.current()
  const { prefix, url, cluster, tls } = settings().redis
  const now = Date.now
  const connect = (redisRole: RedisRole) => {
    const client = createRedis({
      ...(url === undefined ? {} : { url }),
      ...(cluster === undefined ? {} : { cluster }),
      ...(tls === undefined ? {} : { tls }),
      role: redisRole,
      name: `sluice-${role}-${redisRole}`,
      onError: (error) => log.debug({ err: error }, 'redis connection'),
    })
    closers.add(`the redis connection for ${redisRole}`, () => closeRedis(client))
    return client
  }
  const redis = connect('commands')
  const live = createLive({ subscriber: connect('subscriber') })
  const fairness = createFairness({ redis, prefix })
  const gate = createGate({ redis, prefix })
  const weightOf = (tenant: string) => settings().tenants[tenant]?.weight ?? 1
  const latencies = createLatencies({ redis, prefix })
  closers.add('the latencies', () => latencies.close())
  const foresight = createForesight({
    fairness,
    gate,
    laneOf: (id) => resolveLane(settings(), id),
    weightOf,
    waiting: async (id) => (await queues.backlog(id)).waiting,
    now,
  })
  const queues = createQueues({
    order: {
      async place(laneId, entries, held) {
        const lane = resolveLane(settings(), laneId)
        // A lane that left the configuration still keeps its entries in order.
        const seconds = entries.map(({ cost }) => (lane ? serviceSeconds(lane, cost) : 1))
        const starts = await fairness.tag(
          laneId,
          entries.map(({ tenant, priority, notBefore }, index) => ({
            tenant,
            band: priority,
            later: notBefore !== null,
            seconds: seconds[index]!,
            weight: weightOf(tenant),
          })),
          held,
        )
        if (lane) {
          const sum = { requests: 0, tokens: 0 }
          for (const { cost } of entries) {
            const shares = serviceShares(lane, cost)
            sum.requests += shares.requests
            sum.tokens += shares.tokens
          }
          const all = seconds.reduce((total, one) => total + one, 0)
          fairness.mix(laneId, all, sum).catch((error) => log.debug({ err: error }, 'adding to the mix'))
        }
        return starts.map((start, index) => ({
          start,
          seconds: seconds[index]!,
          priority: priorityOf(start, entries[index]!.priority),
        }))
      },
      served: (laneId, start, seconds, waiting) => {
        fairness
          .serve(laneId, start, seconds, waiting)
          .catch((error) => log.debug({ err: error }, 'moving the virtual time'))
      },
    },
    // A worker's loops wait for Redis; a client of the API does not.
    connection: role === 'api' ? redis : connect('bullmq'),
    prefix,
    stalledAfterMs: settings().jobs.stalled_after,
    now,
  })
  closers.add('the queues', () => queues.close())
  const scripts = createScripts(redis)
  const outbox = createOutbox({ redis, queues, prefix, now })
  closers.add('the outbox', () => outbox.idle())
  const retainMs = () => settings().jobs.retain
  const maintenance = createMaintenance({ redis, scripts, outbox, prefix, retainMs, now })
  const webhooks = createWebhookStore({ redis, root: (tenant) => tenantRoot(prefix, tenant) })
  const sealer = createSealer({ keys: encryptionKeys(settings()), now })
  const leaveKeys = config.subscribe((next) => sealer.replace(encryptionKeys(next)))
  closers.add('the encryption keys', async () => leaveKeys())
  const atRest = createAtRest({
    sealer,
    onUnreadable: (error, job) => log.error({ err: error, job }, 'a job cannot be decrypted'),
  })
  const files = createFileStore({
    redis,
    sealer,
    root: (tenant) => tenantRoot(prefix, tenant),
    now,
    newId: createIds('file-', now),
    maxBytes: () => settings().files.max_bytes_per_tenant,
  })
  const batchStore = {
    redis,
    scripts: createBatchScripts(redis),
    root: (tenant: string) => tenantRoot(prefix, tenant),
  }
  const batches = createBatches({
    ...batchStore,
    newId: createIds('batch_', now),
    wake: (id) => redis.publish(batchChannel(prefix), id),
  })
  const door = role === 'api' ? openDoor({ redis, live, prefix, cluster, atRest, now }, closers) : {}
  const memory = createMemory({ redis, share: settings().redis.memory_share, now })
  const durability = settings().redis.durable
    ? createDurability({ connection: connect('commands'), prefix })
    : null
  const jobs = createJobs({
    redis,
    scripts,
    queues,
    outbox,
    live,
    prefix,
    retainMs,
    atRest,
    render: renderResult,
    deliveries: webhooks,
    foresight,
    room: createRoom({
      redis,
      prefix,
      tenants: maintenance.tenants,
      most: () => settings().jobs.max_queued,
      now,
    }),
    memory,
    ...(durability ? { confirm: durability.confirm } : {}),
    newId: createJobIds(now),
    onError: (error, what) => log.warn({ err: error }, what),
    ...door,
  })
  return {
    redis,
    live,
    queues,
    scripts,
    outbox,
    maintenance,
    webhooks,
    files,
    batches,
    batchWork: createBatchWork(batchStore),
    memory,
    durability,
    jobs,
    gate,
    fairness,
    foresight,
    latencies,
    prefix,
    atRest,
    now,
    retainMs,
  }
}

/** How an API process hears of the ends of awaited jobs, and of workers that take them at once. */
function openDoor(
  {
    cluster,
    ...deps
  }: {
    redis: RedisClient
    live: Live
    prefix: string
    cluster: readonly string[] | undefined
    atRest: AtRest
    now: () => number
  },
  closers: ReturnType<typeof createClosers>,
): { answers: Answers; openLanes?: OpenLanes } {
  const answers = createAnswers({ ...deps, process: randomUUIDv7(), render: renderResult })
  closers.add('the answers', async () => answers.close())
  // A node of a cluster cannot tell whether a worker heard: there every job goes through its queue.
  if (cluster !== undefined && cluster.length > 0) return { answers }
  return { answers, openLanes: createOpenLanes(deps) }
}

function encryptionKeys(config: Config): Buffer[] {
  return config.encryption.keys.map(decodeEncryptionKey)
}

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
