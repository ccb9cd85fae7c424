import { randomUUIDv7 } from 'node:crypto'
import type { Logger } from 'pino'
import { buildApp } from './api/app.ts'
import { createLaneControl } from './api/lanes.ts'
import { resolveLane, resolveModel } from './config/lanes.ts'
import type { Config } from './config/schema.ts'
import { createKeyring, type Keyring } from './config/tenants.ts'
import type { LiveConfig } from './config/watch.ts'
import { tenantRoot, wakeChannel, webhookChannel } from './jobs/keys.ts'
import { createLive } from './jobs/live.ts'
import { createMaintenance } from './jobs/maintenance.ts'
import { createOutbox } from './jobs/outbox.ts'
import { createQueues } from './jobs/queue.ts'
import { createRoom } from './jobs/room.ts'
import { createScripts } from './jobs/scripts.ts'
import { createJobs } from './jobs/service.ts'
import { createWork } from './jobs/work.ts'
import { createJobIds } from './lib/job-id.ts'
import { closeRedis, createRedis, isRedisUnavailable, type RedisRole } from './lib/redis.ts'
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

/** What both roles need: connections, the job store, the gate. */
function openStore(
  { config, log }: ServicesDeps,
  role: 'api' | 'worker',
  closers: ReturnType<typeof createClosers>,
) {
  const settings = () => config.current()
  const { prefix, url, cluster } = settings().redis
  const now = Date.now
  const connect = (redisRole: RedisRole) => {
    const client = createRedis({
      ...(url === undefined ? {} : { url }),
      ...(cluster === undefined ? {} : { cluster }),
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
  const jobs = createJobs({
    redis,
    scripts,
    queues,
    outbox,
    live,
    prefix,
    retainMs,
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
    newId: createJobIds(now),
    onError: (error, what) => log.warn({ err: error }, what),
  })
  return {
    redis,
    live,
    queues,
    scripts,
    outbox,
    maintenance,
    webhooks,
    jobs,
    gate,
    fairness,
    foresight,
    latencies,
    prefix,
    now,
    retainMs,
  }
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

  const app = buildApp({
    jobs: store.jobs,
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
    ready: async () => {
      try {
        await store.redis.ping()
        return { ok: true }
      } catch {
        return { ok: false, reason: 'redis does not answer' }
      }
    },
    isUnavailable: isRedisUnavailable,
    log,
    now: Date.now,
    createId: () => `req_${randomUUIDv7().replaceAll('-', '')}`,
    version: deps.version,
  })
  const { host, port } = config.current().server
  const url = await app.listen({ host, port })
  closers.add('the http server', () => app.close())
  return { name: 'api', url, close: closers.closeAll }
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
    settings: () => ({
      retainMs: store.retainMs(),
      cacheTtlMs: config.current().cache.ttl,
      cacheMaxBytes: config.current().cache.max_result,
    }),
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

  const worker = await startWorker({
    config: () => config.current(),
    prefix: store.prefix,
    queues: store.queues,
    work,
    gate: store.gate,
    live: store.live,
    maintenance: store.maintenance,
    provider: (name) => providers.get(name),
    knownLanes: store.queues.lanes,
    note: (lane, waitingFor) => {
      store.fairness.note(lane, waitingFor).catch((error) => onError(error, 'noting what a lane waits for'))
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
  return { name: 'worker', close: closers.closeAll }
}

function linkBase(config: Config): string {
  const { host, port, public_url } = config.server
  if (public_url !== undefined) return public_url
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
