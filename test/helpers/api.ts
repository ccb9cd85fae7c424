import { randomUUIDv7 } from 'node:crypto'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { buildApp } from '../../api/app.ts'
import {
  type Api,
  type ApiDeps,
  type ApiLimits,
  defaultApiLimits,
  type ProviderAccess,
  type ServerParts,
} from '../../api/deps.ts'
import { createLaneControl } from '../../api/lanes/lanes.ts'
import { createOverviewHistory } from '../../api/overview/history.ts'
import { listModels, resolveModel } from '../../config/lanes.ts'
import { type Config, type ConfigInput, configSchema } from '../../config/schema.ts'
import { createKeyring } from '../../config/tenants.ts'
import type { EmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { tenantRoot, tenantsKey, wakeChannel } from '../../jobs/keys.ts'
import { readMaintainer } from '../../jobs/maintainer-lease.ts'
import { createMemoryAdmission } from '../../jobs/memory-admission.ts'
import { createProviderState } from '../../jobs/provider-state.ts'
import { createScheduledCounts } from '../../jobs/scheduled-counts.ts'
import {
  closeRedis,
  createRedis,
  isRedisUnavailable,
  type RedisClient,
  type RedisRole,
} from '../../lib/redis.ts'
import type { Sealer } from '../../lib/sealer.ts'
import { estimateCost } from '../../providers/accounting.ts'
import { readCoalesceKey } from '../../providers/coalesce-key.ts'
import { countImages, makesImages } from '../../providers/endpoints.ts'
import { createStateRequests } from '../../providers/state-requests.ts'
import type { ScheduleWork } from '../../schedules/work.ts'
import { createJobStore } from '../../services/job-store.ts'
import { createPermits } from '../../services/permits.ts'
import { createMetrics } from '../../telemetry/metrics.ts'
import { createTenantRegistry } from '../../tenants/registry.ts'
import { createAddressGuard } from '../../webhooks/address-guard.ts'
import { openTestWorker, type TestWorker } from './api-worker.ts'
import { testSealer } from './encryption.ts'
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
  /** From now on the routes use this configuration. */
  reconfigure(next: Config): void
  redis: RedisClient
  /** What the routes get. */
  deps: ApiDeps
  scheduleWork: ScheduleWork
  /** The Redis process, if the API has its own. */
  server: EmbeddedRedis | null
  /** The root of a tenant's keys; an open service has only the tenant `default`. */
  root(tenant?: string): string
  /** Does what a worker does, when a test says so. */
  worker: TestWorker
  /** What was logged, one parsed line each. */
  logged: Record<string, unknown>[]
  /** Freezes its own Redis: connections stay open, and nothing answers until the returned function is called. */
  freeze(): () => void
  /** Starts to listen on a free port of 127.0.0.1. */
  listen(): Promise<string>
  close(): Promise<void>
}

export type TestApiOptions = {
  tenants?: ConfigInput['tenants']
  providers?: ConfigInput['providers']
  cache?: ConfigInput['cache']
  server?: ConfigInput['server']
  limits?: Partial<ApiLimits>
  /** A Redis of its own, for tests that stop or break it. */
  own?: boolean
  /** Its place in Redis; the shared Redis by default. */
  place?: TestPlace
  /** The least severe level in `logged`; `warn` by default. */
  logLevel?: 'info'
  /** Its store waits for Redis without a limit, for tests that freeze it. */
  patient?: boolean
  overrides?: { providers?: Partial<ProviderAccess>; server?: Partial<ServerParts> }
  /** What is encrypted; by default what the environment says. */
  sealer?: Sealer
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

/** The API over a store in a real Redis, put together as services.ts does, without a worker. */
export async function createTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const server = options.own ? await startTestRedis() : null
  const place = server ? { url: server.url, prefix: 'test' } : (options.place ?? testRedis())
  const { prefix } = place
  let config = parseTestConfig({
    tenants: options.tenants ?? {},
    ...(options.providers === undefined ? {} : { providers: options.providers }),
    ...(options.cache === undefined ? {} : { cache: options.cache }),
    ...(options.server === undefined ? {} : { server: options.server }),
  })
  const { log, logged } = createTestLog(options.logLevel ?? 'warn')
  const metrics = createMetrics({ version: '0.0.0-test', now: Date.now, ofProcess: false })
  const store = openTestParts({
    place,
    config,
    role: options.patient ? 'bullmq' : 'commands',
    sealer: options.sealer ?? testSealer(),
    onError: (error, what) => log.warn({ err: error }, what),
  })
  const stateRequests = createStateRequests({ config: () => config, proxy: null })
  const deps: ApiDeps = {
    store: store.resources,
    tenants: {
      ...store.tenants,
      keyring: () => createKeyring(config),
      freshenKeys: () => null,
      madeKeys: () => [],
      registry: createTenantRegistry({ redis: store.redis, prefix, now: Date.now }),
      configured: () => config,
    },
    submission: {
      resolveModel: (model) => resolveModel(config, model),
      listModels: () => listModels(config),
      estimateCost: (lane, type, body) => ({
        ...estimateCost({ kind: lane.kind, type, body }),
        coalesceKey: readCoalesceKey(type, body),
        ...(makesImages(type) ? { images: countImages(type, body) } : {}),
      }),
      checkWebhookUrl: createAddressGuard({ allowPrivateAddresses: false }).checkUrl,
      batchTurnaround: () => null,
      hasTenants: () => Object.keys(config.tenants).length > 0,
    },
    lanes: store.lanes,
    providers: {
      ...store.providers,
      requests: stateRequests,
      countTokens: () => null,
      ...options.overrides?.providers,
    },
    history: { usage: null, state: null },
    overview: store.overview,
    server: {
      version: '0.0.0-test',
      log,
      metrics: { ...metrics.http, render: metrics.render },
      traceRequest: null,
      ready: async () => ({ ok: true }),
      isMemoryShort: store.isMemoryShort,
      isUnavailable: isRedisUnavailable,
      createId: () => `request-${randomUUIDv7()}`,
      folders: { dashboard: '/nonexistent', guide: '/nonexistent' },
      limits: { ...defaultApiLimits, ...options.limits },
      ...options.overrides?.server,
    },
    config: () => config,
    now: Date.now,
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
    get config() {
      return config
    },
    reconfigure(next) {
      config = next
    },
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
      await stateRequests.close()
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
  sealer: Sealer
  onError: (error: unknown, what: string) => void
}) {
  const { place, config, role, sealer, onError } = options
  const { prefix } = place
  const redis = createRedis({ ...place, role, name: 'test-api-commands' })
  const subscriber = createRedis({ ...place, role: 'subscriber', name: 'test-api-subscriber' })
  const now = Date.now
  const closers: (() => Promise<unknown>)[] = []
  const memory = createMemoryAdmission({ redis, share: config.redis.memory_share, now })
  const store = createJobStore({
    redis: { commands: redis, subscriber, queues: redis },
    config: () => ({ ...config, redis: { ...config.redis, prefix } }),
    sealer,
    fileStores: null,
    memory,
    history: null,
    now,
    report: onError,
    onSlip: () => {},
    onUnreadable: () => {},
    onOpen: (_name, close) => closers.push(close),
  })
  const lanes = createLaneControl({
    ...store,
    config: () => config,
    scheduled: createScheduledCounts({ redis, prefix, tenants: () => redis.smembers(tenantsKey(prefix)) }),
    wake: (lane) => redis.publish(wakeChannel(prefix), lane),
    now,
  })
  return {
    redis,
    scheduleWork: store.scheduleWork,
    resources: {
      ...{ jobs: store.jobs, events: store.events, webhooks: store.webhooks },
      ...{ files: store.files, fileLinks: store.fileLinks, fileContents: store.fileContents },
      ...{ batches: store.batches, durable: store.durable, schedules: store.schedules, flows: store.flows },
    },
    tenants: { stats: store.tenantStats, pauses: store.tenantPauses, budgets: store.budgets },
    lanes,
    providers: {
      state: createProviderState({ redis, root: (tenant) => tenantRoot(prefix, tenant) }),
      takePermit: createPermits(store.gate),
    },
    overview: {
      history: createOverviewHistory({ redis, prefix }),
      readMaintainer: () => readMaintainer(redis, prefix),
      providerBatches: store.providerBatches,
    },
    isMemoryShort: memory.isShort,
    async close() {
      for (const end of closers.reverse()) await end()
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

/** Stands for a provider that does not exist: it answers every request at once. */
export const answeringProvider: Pick<ProviderAccess, 'requests' | 'takePermit'> = {
  requests: { ask: async () => ({ ok: true, status: 200, body: { data: [] } }) },
  takePermit: async () => ({ settle: async () => {} }),
}

/** A create object of a chat job; `members` replace its own. */
export function chatJob(members: Record<string, unknown> = {}, text = 'hello') {
  return {
    type: 'chat',
    body: { model: 'openai/small', messages: [{ role: 'user', content: text }] },
    ...members,
  }
}
