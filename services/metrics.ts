import type { LaneControl, LaneView } from '../api/lanes/lanes.ts'
import { listLanes } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import { type RunTimeKey, tenantNames } from '../config/tenants.ts'
import { showReadiness } from '../history/state.ts'
import { JobStatus } from '../jobs/job.ts'
import { parkedKey, tenantRoot } from '../jobs/keys.ts'
import { isRedisUnavailable } from '../lib/redis.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import type { LaneReading, SharedLimitReading, StoreReading } from '../telemetry/store-reading.ts'
import { type HealthListener, startListener } from '../workers/listener.ts'
import type { WorkerProcess } from '../workers/worker.ts'
import type { Closers } from './closers.ts'
import { createBudgetReader } from './read-budgets.ts'
import type { MeteredDeps, openStore, ServicesDeps } from './store.ts'

type Store = ReturnType<typeof openStore>

/** Adds metrics to the dependencies: those of the process, or new ones for this service only. */
export function withMetrics(deps: ServicesDeps): MeteredDeps {
  const {
    version,
    config,
    metrics = createMetrics({ version, now: () => performance.now(), ofProcess: false }),
  } = deps
  const name = (current: Config) =>
    metrics.name({
      lanes: new Set(listLanes(current).map(({ id }) => id)),
      tenants: new Set(tenantNames(current)),
    })
  name(config.current())
  config.subscribe(name) // for the lifetime of the process, like the metrics
  return { ...deps, metrics }
}

/** Reads the store for a scrape. */
export function createStoreReader(
  { config, log }: ServicesDeps,
  store: Store,
  lanes: Pick<LaneControl, 'list'>,
  madeKeys: () => readonly RunTimeKey[],
): () => Promise<StoreReading> {
  const { redis, prefix, webhooks, memory, forecaster, history, now } = store
  const readBudgets = createBudgetReader({ config: () => config.current(), store, madeKeys })

  async function countJobs(tenants: string[]): Promise<StoreReading['jobs']> {
    const counts = tenants.flatMap((tenant) =>
      Object.values(JobStatus).map(async (status) => ({
        tenant,
        status,
        count: await redis.zcard(`${tenantRoot(prefix, tenant)}:status:${status}`),
      })),
    )
    return Promise.all(counts)
  }

  async function countParked(tenants: string[]): Promise<StoreReading['parked']> {
    const counts = tenants.map(async (tenant) => {
      const count = Number((await redis.get(parkedKey(tenantRoot(prefix, tenant)))) ?? 0)
      return { tenant, count: Math.max(0, count) }
    })
    return Promise.all(counts)
  }

  async function readWebhooks(tenants: string[]): Promise<StoreReading['webhooks']> {
    const backlogs = await Promise.all(tenants.map(webhooks.backlog))
    const time = now()
    return {
      pending: backlogs.reduce((sum, one) => sum + one.pending, 0),
      lateMs: Math.max(0, ...backlogs.map(({ dueSince }) => (dueSince === null ? 0 : time - dueSince))),
    }
  }

  async function readHistory(tenants: string[]): Promise<StoreReading['history']> {
    if (history === null) return null
    const { jobs, since } = await history.state.waiting(tenants)
    return { waiting: jobs, lateMs: since === null ? 0 : Math.max(0, now() - since) }
  }

  /** Only for waiting tenants, because they share the lane with the next job. */
  async function forecast(lane: LaneView, tenants: string[]): Promise<number | null> {
    if (lane.backlog.waiting === 0 && lane.paused_until === null) return 0
    const starts = await Promise.all(
      tenants.map(async (tenant) => (await forecaster.newcomer(lane.id, { tenant, band: 'normal' })).startAt),
    )
    const known = starts.filter((start) => start !== null)
    return known.length === 0 ? null : Math.max(0, Math.max(...known) - now())
  }

  async function read(): Promise<StoreReading> {
    const tenants = tenantNames(config.current())
    const [jobs, parked, views, ofWebhooks, ofHistory, used, budgets] = await Promise.all([
      countJobs(tenants),
      countParked(tenants),
      lanes.list(),
      readWebhooks(tenants),
      readHistory(tenants),
      memory.used(),
      readBudgets(tenants),
    ])
    const waiting = tenants.filter((tenant) =>
      jobs.some((one) => one.tenant === tenant && one.status === JobStatus.queued && one.count > 0),
    )
    const readings = views.map(async (view) => toReading(view, await forecast(view, waiting)))
    return {
      jobs,
      parked,
      lanes: await Promise.all(readings),
      sharedLimits: listSharedLimits(views),
      webhooks: ofWebhooks,
      budgets,
      history: ofHistory,
      memory: { used, limit: config.current().redis.memory_share },
    }
  }

  return async () => {
    try {
      return await read()
    } catch (error) {
      // To the scraper, our own error looks like an unavailable Redis.
      if (!isRedisUnavailable(error)) log.error({ err: error }, 'reading the store for a scrape failed')
      throw error
    }
  }
}

/** Lists each shared limit once, from the lanes that use it. */
function listSharedLimits(views: readonly LaneView[]): SharedLimitReading[] {
  const found = new Map<string, SharedLimitReading>()
  for (const { provider, shared_limits } of views) {
    for (const one of shared_limits) {
      found.set(JSON.stringify([provider, one.name]), {
        provider,
        name: one.name,
        inFlight: one.in_flight,
        utilisation: one.utilisation,
        speed: one.speed,
        isPaused: one.paused_until !== null,
      })
    }
  }
  return [...found.values()]
}

function toReading(view: LaneView, forecastMs: number | null): LaneReading {
  const rates = Object.entries(view.rates).map(([dimension, rate]) => [dimension, rate && rate / 60])
  return {
    id: view.id,
    backlog: view.backlog,
    inFlight: view.in_flight,
    levels: view.levels,
    rates: Object.fromEntries(rates),
    utilisation: view.utilisation,
    speed: view.speed,
    isPaused: view.paused_until !== null,
    tiers: view.tiers.map((tier) => ({
      name: tier.name,
      isShut: tier.paused_until !== null || tier.breaker.state !== 'closed',
    })),
    concurrency: view.learned.concurrency ?? view.limits.concurrency,
    isBroken: view.breaker.state !== 'closed',
    forecastMs,
    sources: view.sources.map((one) => ({
      name: one.name,
      inFlight: one.in_flight,
      utilisation: one.utilisation,
      speed: one.speed,
      isPaused: one.paused_until !== null,
      isShut: one.shut !== null,
    })),
    heldBackBy: view.held_back_by === null ? null : nameOf(view.held_back_by),
  }
}

function nameOf({ kind, name }: NonNullable<LaneView['held_back_by']>): string {
  return kind === 'lane' ? 'lane' : name
}

/** Opens the port of a worker, if one is configured. */
export async function openListener(
  { config, log, version, metrics }: MeteredDeps,
  { watch, history }: Store,
  readHealth: WorkerProcess['health'],
  closers: Closers,
): Promise<HealthListener | null> {
  const { listen } = config.current().worker
  if (listen === undefined) return null
  const listener = await startListener({
    ...listen,
    ready: async () => {
      const health = readHealth()
      return health.ok ? watch.look() : health
    },
    history: async () => (history === null ? {} : showReadiness(await history.state.read())),
    metrics: metrics.render,
    version,
    onError: (error, what) => log.warn({ err: error }, `${what} failed`),
  })
  closers.add("the worker's port", () => listener.close())
  log.info({ url: listener.url }, 'the worker listens')
  return listener
}
