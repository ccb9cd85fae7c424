import { randomUUIDv7 } from 'node:crypto'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { buildApp } from '../../api/app.ts'
import type { Api, ApiDeps, ApiLimits } from '../../api/deps.ts'
import { createLaneControl } from '../../api/lanes/lanes.ts'
import { createBatchScripts } from '../../batches/scripts.ts'
import { batchChannel, createBatches } from '../../batches/store.ts'
import { listModels, resolveLane, resolveModel } from '../../config/lanes.ts'
import { type Config, type ConfigInput, configSchema } from '../../config/schema.ts'
import { createKeyring } from '../../config/tenants.ts'
import { createDurableScripts } from '../../durable/scripts.ts'
import { createDurableRuns } from '../../durable/store.ts'
import type { EmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { createFollowed } from '../../events/followed.ts'
import { createFileStore } from '../../files/store.ts'
import { createFlowScripts } from '../../flows/scripts.ts'
import { createFlows } from '../../flows/store.ts'
import { tenantRoot, tenantsKey, wakeChannel } from '../../jobs/keys.ts'
import { readMaintainer } from '../../jobs/maintainer-lease.ts'
import { createMemoryAdmission } from '../../jobs/memory-admission.ts'
import { createOutbox } from '../../jobs/outbox.ts'
import { createPubSub } from '../../jobs/pubsub.ts'
import { createQueues } from '../../jobs/queue.ts'
import { createQueueAdmission } from '../../jobs/queue-admission.ts'
import { createScheduledCounts } from '../../jobs/scheduled-counts.ts'
import { createScripts } from '../../jobs/scripts.ts'
import { createJobs } from '../../jobs/service.ts'
import { createTenantStatsReader } from '../../jobs/tenant-stats.ts'
import { createIds } from '../../lib/job-id.ts'
import {
  closeRedis,
  createRedis,
  isRedisUnavailable,
  type RedisClient,
  type RedisRole,
} from '../../lib/redis.ts'
import { estimateCost } from '../../providers/accounting.ts'
import { coalesceKey } from '../../providers/embeddings.ts'
import { renderResult } from '../../providers/vectors.ts'
import { createBrokenCalls } from '../../ratelimit/broken-calls.ts'
import { createFairness } from '../../ratelimit/fairness.ts'
import { createForecaster } from '../../ratelimit/forecaster.ts'
import { createGate } from '../../ratelimit/gate.ts'
import { createLatencies } from '../../ratelimit/latencies.ts'
import { createScheduleScripts } from '../../schedules/scripts.ts'
import { createSchedules } from '../../schedules/store.ts'
import { createScheduleWork, type ScheduleWork } from '../../schedules/work.ts'
import { openTenantEvents } from '../../services/events.ts'
import { createMetrics } from '../../telemetry/metrics.ts'
import { createAddressGuard } from '../../webhooks/address-guard.ts'
import { createWebhookStore } from '../../webhooks/store.ts'
import { createTestOrder, openTestWorker, type TestWorker } from './api-worker.ts'
import { testAtRest, testSealer } from './encryption.ts'
import { startTestRedis, type TestPlace, testRedis } from './redis.ts'

export const acmeKey = 'acme-key-0123456789'
export const otherKey = 'other-key-0123456789'
export const opsKey = 'ops-key-0123456789'

/** Three tenants: two ordinary ones and an administrator. */
export const testTenants: ConfigInput['tenants'] = {
  acme: { keys: [acmeKey], limits: { max_queued: 1000 } },
  other: { keys: [otherKey] },
  ops: { keys: [opsKey], admin: true },
}

export type TestApi = {
  app: Api
  config: Config
  redis: RedisClient
  /** What the routes have. */
  deps: ApiDeps
  scheduleWork: ScheduleWork
  /** The Redis process, where the API has one of its own. */
  server: EmbeddedRedis | null
  /** Of the keys of a tenant; the only one of an open service is `default`. */
  root(tenant?: string): string
  /** Does what a worker does, when a test says so. */
  worker: TestWorker
  /** What was logged, one parsed line each. */
  logged: Record<string, unknown>[]
  /** Stops its own Redis in its tracks: connections stand, and nothing answers until the function given is called. */
  freeze(): () => void
  /** Begins to listen on a free port of 127.0.0.1. */
  listen(): Promise<string>
  close(): Promise<void>
}

export type TestApiOptions = {
  tenants?: ConfigInput['tenants']
  providers?: ConfigInput['providers']
  cache?: ConfigInput['cache']
  limits?: Partial<ApiLimits>
  /** A Redis of its own, for tests that stop or spoil it. */
  own?: boolean
  /** Where to be; in the shared Redis unless given. */
  place?: TestPlace
  /** The least severe lines of `logged`; `warn` unless given. */
  logLevel?: 'info'
  /** Its store waits for Redis as long as it takes, for tests that hold it up. */
  patient?: boolean
  overrides?: Partial<Pick<ApiDeps, 'ready' | 'dashboardFolder'>>
}

/** `openai/small` is fast and limited, `fast` is its alias. */
export function parseTestConfig(members: Partial<ConfigInput> = {}): Config {
  return configSchema.parse({
    providers: {
      openai: {
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        limits: { requests_per_minute: 600, tokens_per_minute: 6000 },
        timeout: '90s',
        models: { small: {}, embed: {} },
      },
    },
    routes: { fast: ['openai/small'] },
    webhooks: { secret: 'a secret of the tests' },
    ...members,
  } satisfies ConfigInput)
}

/** The API over a store in a real Redis, put together as services.ts does, without a worker beside it. */
export async function createTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const server = options.own ? await startTestRedis() : null
  const place = server ? { url: server.url, prefix: 'test' } : (options.place ?? testRedis())
  const { prefix } = place
  const config = parseTestConfig({
    tenants: options.tenants ?? {},
    ...(options.providers === undefined ? {} : { providers: options.providers }),
    ...(options.cache === undefined ? {} : { cache: options.cache }),
  })
  const { log, logged } = createTestLog(options.logLevel ?? 'warn')
  const metrics = createMetrics({ version: '0.0.0-test', now: Date.now, ofProcess: false })
  const store = openTestParts({
    place,
    config,
    role: options.patient ? 'bullmq' : 'commands',
    onError: (error, what) => log.warn({ err: error }, what),
  })
  const deps: ApiDeps = {
    ...store.deps,
    config: () => config,
    keyring: () => createKeyring(config),
    resolveModel: (model) => resolveModel(config, model),
    listModels: () => listModels(config),
    estimateCost: (lane, type, body) => ({
      ...estimateCost({ kind: lane.kind, type, body }),
      coalesceKey: type === 'embedding' ? coalesceKey(body) : null,
    }),
    checkWebhookUrl: createAddressGuard({ allowPrivateAddresses: false }).checkUrl,
    ready: async () => ({ ok: true }),
    isUnavailable: isRedisUnavailable,
    log,
    now: Date.now,
    createId: () => `request-${randomUUIDv7()}`,
    metrics: { ...metrics.http, render: metrics.render },
    version: '0.0.0-test',
    dashboardFolder: '/nonexistent',
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...options.overrides,
  }
  const app = buildApp(deps)
  let worker: TestWorker | null = null
  let frozen: number | null = null
  const thaw = () => {
    if (frozen !== null) process.kill(frozen, 'SIGCONT')
    frozen = null
  }
  return {
    app,
    config,
    redis: store.redis,
    deps,
    scheduleWork: store.scheduleWork,
    server,
    root: (tenant = 'default') => tenantRoot(prefix, tenant),
    get worker() {
      worker ??= openTestWorker({ place, config })
      return worker
    },
    logged,
    freeze() {
      frozen = server!.pid
      process.kill(frozen, 'SIGSTOP')
      return thaw
    },
    listen: () => app.listen({ host: '127.0.0.1', port: 0 }),
    async close() {
      thaw()
      await app.close()
      await worker?.close()
      await store.close()
      await server?.close()
    },
  }
}

/** The store and what looks at its lanes: everything of the API that lives in Redis. */
function openTestParts(options: {
  place: TestPlace
  config: Config
  role: RedisRole
  onError: (error: unknown, what: string) => void
}) {
  const { place, config, role, onError } = options
  const { prefix } = place
  const redis = createRedis({ ...place, role, name: 'test-api-commands' })
  const subscriber = createRedis({ ...place, role: 'subscriber', name: 'test-api-subscriber' })
  const now = Date.now
  const fairness = createFairness({ redis, prefix })
  const gate = createGate({ redis, prefix })
  const latencies = createLatencies({ redis, prefix })
  const forecaster = createForecaster({
    fairness,
    gate,
    laneOf: (id) => resolveLane(config, id),
    weightOf: (tenant) => config.tenants[tenant]?.weight ?? 1,
    waiting: async (id) => (await queues.backlog(id)).waiting,
    now,
  })
  const order = createTestOrder(fairness, config)
  const queues = createQueues({
    connection: redis,
    prefix,
    stalledAfterMs: config.jobs.stalled_after,
    order,
  })
  const pubsub = createPubSub({ subscriber })
  const followed = createFollowed({
    prefix,
    publish: (channel, message) => redis.publish(channel, message),
    listen: pubsub.keepListening,
    now: () => performance.now(),
  })
  const scripts = createScripts(redis, followed.read)
  const outbox = createOutbox({ redis, scripts, queues, prefix, now })
  const sealer = testSealer()
  const memory = createMemoryAdmission({ redis, share: config.redis.memory_share, now })
  const tenantStats = createTenantStatsReader({ redis, scripts, prefix, retainMs: () => config.jobs.retain })
  const webhooks = createWebhookStore({ redis, root: (tenant) => tenantRoot(prefix, tenant) })
  const jobs = createJobs({
    redis,
    scripts,
    queues,
    outbox,
    pubsub,
    prefix,
    retainMs: () => config.jobs.retain,
    atRest: testAtRest(sealer),
    render: renderResult,
    deliveries: webhooks,
    forecaster,
    queueAdmission: createQueueAdmission({
      redis,
      prefix,
      tenants: () => redis.smembers(tenantsKey(prefix)),
      most: () => config.jobs.max_queued,
      now,
    }),
    memoryAdmission: memory,
    replyInbox: null,
    openLanes: null,
    newId: () => `job_${randomUUIDv7().replaceAll('-', '')}`,
    now,
    onError,
  })
  const files = createFileStore({
    redis,
    root: (tenant) => tenantRoot(prefix, tenant),
    now,
    newId: createIds('file-', now),
    maxBytes: () => config.files.max_bytes_per_tenant,
    sealer,
  })
  const batches = createBatches({
    redis,
    scripts: createBatchScripts(redis),
    root: (tenant) => tenantRoot(prefix, tenant),
    newId: createIds('batch_', now),
    wake: (id) => redis.publish(batchChannel(prefix), id),
  })
  const durable = createDurableRuns({
    redis,
    scripts: createDurableScripts(redis),
    sealer,
    root: (tenant) => tenantRoot(prefix, tenant),
    listen: pubsub.listen,
    retainMs: () => config.jobs.retain,
    now,
  })
  const scheduleStore = {
    redis,
    scripts: createScheduleScripts(redis),
    sealer,
    prefix,
    root: (tenant: string) => tenantRoot(prefix, tenant),
  }
  const schedules = createSchedules({
    ...scheduleStore,
    newId: createIds('sch_', now),
    retainMs: () => config.jobs.retain,
  })
  const scheduleWork = createScheduleWork({ ...scheduleStore, now })
  const flows = createFlows({
    redis,
    scripts: createFlowScripts(redis, followed.read),
    prefix,
    atRest: testAtRest(sealer),
    jobs,
    pubsub,
    deliveries: webhooks.list,
    newId: createIds('flow_', now),
    retainMs: () => config.jobs.retain,
  })
  const events = openTenantEvents({
    ...{ redis, queues, forecaster, pubsub, followed, prefix, now },
    readFlow: flows.getByRoot,
    atRest: testAtRest(sealer),
    render: renderResult,
  })
  const lanes = createLaneControl({
    config: () => config,
    gate,
    queues,
    fairness,
    latencies,
    brokenCalls: createBrokenCalls({ redis, prefix }),
    scheduled: createScheduledCounts({ redis, prefix, tenants: () => redis.smembers(tenantsKey(prefix)) }),
    wake: (lane) => redis.publish(wakeChannel(prefix), lane),
    now,
  })
  const forecast: ApiDeps['forecast'] = async (lane, tenant, priority) =>
    (await forecaster.newcomer(lane, tenant, priority)).startAt
  return {
    redis,
    scheduleWork,
    deps: {
      jobs,
      events,
      tenantStats,
      readMaintainer: () => readMaintainer(redis, prefix),
      files,
      batches,
      durable,
      schedules,
      flows,
      lanes,
      forecast,
      isMemoryShort: memory.isShort,
    },
    async close() {
      await followed.close()
      await outbox.idle()
      await latencies.close()
      await closeRedis(subscriber)
      await closeRedis(redis)
    },
  }
}

function createTestLog(level: 'info' | 'warn') {
  const logged: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logged.push(JSON.parse(chunk.toString()))
      done()
    },
  })
  return { log: pino({ level }, sink), logged }
}

/** A create object of a chat job; `members` go over it. */
export function chatJob(members: Record<string, unknown> = {}, text = 'hello') {
  return {
    type: 'chat',
    body: { model: 'openai/small', messages: [{ role: 'user', content: text }] },
    ...members,
  }
}
