import { Gauge, type Registry } from '@prometheus-io/client'
import { type LabelBounds, OTHER } from './label-bound.ts'

type Levels = Record<string, number | null>

/** What stands in the store, which all processes share. */
export type StoreReading = {
  jobs: { tenant: string; status: string; count: number }[]
  /** Queued jobs that wait for the limits of their fair keys. */
  parked: { tenant: string; count: number }[]
  lanes: LaneReading[]
  /** Limits that several lanes share, each once. */
  sharedLimits: SharedLimitReading[]
  /** Of each tenant, kind of owner and window the fullest budget. */
  budgets: BudgetReading[]
  webhooks: {
    /** Deliveries that are still to be made. */
    pending: number
    /** Of the one that is due for longest; 0: none is. */
    lateMs: number
  }
  /** Null: there is none. */
  history: {
    /** Ended jobs that only Redis has. */
    waiting: number
    /** Of the one that waits for longest; 0: none does. */
    lateMs: number
  } | null
  memory: {
    /** Share of its `maxmemory` that the fullest server uses; null: none has a limit. */
    used: number | null
    /** From which share on new work is refused. */
    limit: number
  }
}

export type LaneReading = {
  id: string
  backlog: { waiting: number; delayed: number; held: number }
  inFlight: number
  /** The calls at once that may be under way; null: not limited. */
  concurrency: number | null
  /** By dimension: what the bucket holds, and what it gains in a second; null: no limit. */
  levels: Levels
  rates: Levels
  /** 0 to 1. */
  utilisation: number
  speed: number
  isPaused: boolean
  isBroken: boolean
  /** How long a job that is queued now waits, for the tenant with the longest wait. Null: not known. */
  forecastMs: number | null
  /** Tiers of service other than standard, and whether each is paused or broken. */
  tiers: { name: string; isShut: boolean }[]
  /** Of a lane with several of them. */
  sources: SourceReading[]
  /** While jobs wait for room: the shared limit with the least of it, or `lane` for its own limits; null: nothing holds it back. */
  heldBackBy: string | null
}

/** A source of a lane. */
export type SourceReading = Pick<LaneReading, 'inFlight' | 'utilisation' | 'speed' | 'isPaused'> & {
  name: string
  isShut: boolean
}

/** A limit that a provider counts over several lanes. Members as of a lane. */
export type SharedLimitReading = Pick<LaneReading, 'inFlight' | 'utilisation' | 'speed' | 'isPaused'> & {
  provider: string
  name: string
}

/** A budget, USD. */
export type BudgetReading = {
  tenant: string
  owner: string
  per: string
  limitUsd: number
  spentUsd: number
  reservedUsd: number
  /** What is spent and reserved, of the limit; 1 and more: it has no room. */
  usedShare: number
}

/** A reading serves all scrapes for this long, ms. */
const SERVES_MS = 1000

/** A scrape waits no longer for the store, ms. */
const LIMIT_MS = 2000

/**
 * Reads the store when somebody scrapes. While it does not answer, `sluice_store_up` is 0 and what stands in it is not
 * told, rather than told as it was.
 */
export function createStoreMetrics(
  registry: Registry,
  bounds: LabelBounds,
  deps: { read: () => Promise<StoreReading>; now: () => number },
): { refresh(): Promise<void> } {
  const gauges = createGauges(registry)
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | null = null

  async function read(): Promise<void> {
    try {
      const found = await deps.read()
      gauges.clear()
      gauges.up.set(1)
      show(found)
    } catch {
      gauges.clear()
    }
    readAt = deps.now()
  }

  function show({
    jobs,
    parked,
    lanes,
    sharedLimits,
    budgets,
    webhooks,
    history,
    memory,
  }: StoreReading): void {
    // Added, because values beyond the bound share a series.
    for (const { tenant, status, count } of jobs) {
      gauges.jobs.inc({ tenant: bounds.tenant(tenant), status }, count)
    }
    for (const { tenant, count } of parked) gauges.parked.inc({ tenant: bounds.tenant(tenant) }, count)
    for (const one of lanes) {
      const lane = bounds.lane(one.id)
      for (const [state, count] of Object.entries(one.backlog)) gauges.backlog.inc({ lane, state }, count)
      gauges.inFlight.inc({ lane }, one.inFlight)
      // Values that cannot be added are reported only for lanes with a series of their own.
      if (lane === OTHER) continue
      if (one.concurrency !== null) gauges.concurrency.set({ lane }, one.concurrency)
      gauges.utilisation.set({ lane }, one.utilisation)
      gauges.speed.set({ lane }, one.speed)
      for (const [dimension, level] of Object.entries(one.levels)) {
        if (level !== null) gauges.level.set({ lane, dimension }, level)
      }
      for (const [dimension, rate] of Object.entries(one.rates)) {
        if (rate !== null) gauges.rate.set({ lane, dimension }, rate)
      }
      gauges.paused.set({ lane }, one.isPaused ? 1 : 0)
      gauges.broken.set({ lane }, one.isBroken ? 1 : 0)
      if (one.forecastMs !== null) gauges.forecast.set({ lane }, one.forecastMs / 1000)
      for (const { name: tier, isShut } of one.tiers) gauges.tierShut.set({ lane, tier }, isShut ? 1 : 0)
      for (const { name: source, ...each } of one.sources) {
        const labels = { lane, source }
        gauges.sourceUtilisation.set(labels, each.utilisation)
        gauges.sourceInFlight.set(labels, each.inFlight)
        gauges.sourceSpeed.set(labels, each.speed)
        gauges.sourcePaused.set(labels, each.isPaused ? 1 : 0)
        gauges.sourceShut.set(labels, each.isShut ? 1 : 0)
      }
      if (one.heldBackBy !== null) gauges.heldBack.set({ lane, limit: one.heldBackBy }, 1)
    }
    for (const { provider, name: limit, ...one } of sharedLimits) {
      const labels = { provider, limit }
      gauges.sharedUtilisation.set(labels, one.utilisation)
      gauges.sharedInFlight.set(labels, one.inFlight)
      gauges.sharedSpeed.set(labels, one.speed)
      gauges.sharedPaused.set(labels, one.isPaused ? 1 : 0)
    }
    for (const { owner, per, ...one } of budgets) {
      const tenant = bounds.tenant(one.tenant)
      if (tenant === OTHER) continue
      const labels = { tenant, owner, per }
      gauges.budgetLimit.set(labels, one.limitUsd)
      gauges.budgetSpent.set(labels, one.spentUsd)
      gauges.budgetReserved.set(labels, one.reservedUsd)
      gauges.budgetUsed.set(labels, one.usedShare)
    }
    gauges.webhooks.set(webhooks.pending)
    gauges.webhookLag.set(webhooks.lateMs / 1000)
    if (history === null) {
      gauges.history.remove()
      gauges.historyLag.remove()
    } else {
      gauges.history.set(history.waiting)
      gauges.historyLag.set(history.lateMs / 1000)
    }
    if (memory.used !== null) gauges.memory.set({ what: 'used' }, memory.used)
    gauges.memory.set({ what: 'limit' }, memory.limit)
  }

  return {
    async refresh() {
      if (deps.now() - readAt < SERVES_MS) return
      reading ??= read().finally(() => {
        reading = null
      })
      let timer: NodeJS.Timeout | undefined
      const over = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), LIMIT_MS)
      })
      if ((await Promise.race([reading, over])) === 'late') gauges.clear()
      clearTimeout(timer)
    },
  }
}

function createGauges(registry: Registry) {
  const define = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Gauge<Label>({ name, help, labelNames, registers: [registry] })
  const up = define('sluice_store_up', 'Whether Redis answered this scrape, 1 or 0.')
  const gauges = {
    jobs: define('sluice_jobs', 'Jobs that the store holds, by status.', 'tenant', 'status'),
    parked: define(
      'sluice_jobs_parked',
      'Queued jobs that wait for the limits of their fair keys.',
      'tenant',
    ),
    backlog: define(
      'sluice_lane_backlog',
      'Entries of a queue: waiting, delayed (due later) and held by workers.',
      'lane',
      'state',
    ),
    inFlight: define('sluice_lane_in_flight', 'Calls under way, over all workers.', 'lane'),
    level: define(
      'sluice_lane_level',
      'What a bucket holds; below 0 is a debt that the refill pays off first.',
      'lane',
      'dimension',
    ),
    rate: define(
      'sluice_lane_rate_per_second',
      'What a bucket gains: limit, headroom and what was learned counted in, before the speed.',
      'lane',
      'dimension',
    ),
    concurrency: define(
      'sluice_lane_concurrency_limit',
      'Calls that may be under way at once: as configured, or as `max_concurrency: auto` has found.',
      'lane',
    ),
    utilisation: define(
      'sluice_lane_utilisation_ratio',
      'Used share of what the window of the provider may hold, by the fullest dimension.',
      'lane',
    ),
    speed: define(
      'sluice_lane_speed_ratio',
      'Share of the rate in use, below 1 while the lane recovers from a 429.',
      'lane',
    ),
    paused: define('sluice_lane_paused', 'Whether a lane is paused, 1 or 0.', 'lane'),
    broken: define(
      'sluice_lane_breaker_open',
      'Whether the breaker of a lane is not closed, 1 or 0.',
      'lane',
    ),
    forecast: define(
      'sluice_lane_wait_forecast_seconds',
      'How long a job would wait that is queued now, for the tenant whose wait is the longest.',
      'lane',
    ),
    heldBack: define(
      'sluice_lane_held_back',
      'Always 1: jobs of the lane wait for room in this limit, a shared one by its name or the own ones of the lane.',
      'lane',
      'limit',
    ),
    sharedUtilisation: define(
      'sluice_shared_limit_utilisation_ratio',
      'Used share of what the window of a shared limit may hold, by the fullest dimension.',
      'provider',
      'limit',
    ),
    sharedInFlight: define(
      'sluice_shared_limit_in_flight',
      'Calls under way of all lanes of a shared limit.',
      'provider',
      'limit',
    ),
    sharedSpeed: define(
      'sluice_shared_limit_speed_ratio',
      'Share of the rate of a shared limit in use, below 1 while it recovers from a 429.',
      'provider',
      'limit',
    ),
    sharedPaused: define(
      'sluice_shared_limit_paused',
      'Whether a shared limit is paused after a 429, 1 or 0.',
      'provider',
      'limit',
    ),
    sourceUtilisation: define(
      'sluice_source_utilisation_ratio',
      'Used share of what the window of a source may hold, by the fullest dimension.',
      'lane',
      'source',
    ),
    sourceInFlight: define(
      'sluice_source_in_flight',
      'Calls under way by a source of a lane.',
      'lane',
      'source',
    ),
    sourceSpeed: define(
      'sluice_source_speed_ratio',
      'Share of the rate of a source in use, below 1 while it recovers from a 429.',
      'lane',
      'source',
    ),
    sourcePaused: define(
      'sluice_source_paused',
      'Whether a source is paused after a 429 or by its breaker, 1 or 0.',
      'lane',
      'source',
    ),
    tierShut: define(
      'sluice_lane_tier_shut',
      'Whether a service tier of a lane is paused after a 429, or its breaker is not closed, 1 or 0.',
      'lane',
      'tier',
    ),
    sourceShut: define(
      'sluice_source_shut',
      'Whether a source is shut, because the provider refused its key, its account or its money, 1 or 0.',
      'lane',
      'source',
    ),
    budgetLimit: define(
      'sluice_budget_limit_usd',
      'The fullest budget of this kind of owner and window.',
      'tenant',
      'owner',
      'per',
    ),
    budgetSpent: define(
      'sluice_budget_spent_usd',
      'What was spent of that budget in its present window.',
      'tenant',
      'owner',
      'per',
    ),
    budgetReserved: define(
      'sluice_budget_reserved_usd',
      'What open jobs may cost of that budget.',
      'tenant',
      'owner',
      'per',
    ),
    budgetUsed: define(
      'sluice_budget_used_ratio',
      'Spent and reserved share of that budget; from 1 on it has no room.',
      'tenant',
      'owner',
      'per',
    ),
    webhooks: define('sluice_webhooks_pending', 'Webhooks that are still to be delivered.'),
    webhookLag: define('sluice_webhook_lag_seconds', 'For how long the oldest webhook is due.'),
    history: define('sluice_history_waiting_jobs', 'Ended jobs that are still to be copied to the history.'),
    historyLag: define('sluice_history_lag_seconds', 'For how long the oldest of them waits.'),
    memory: define(
      'sluice_store_memory_ratio',
      'Share of its memory that the fullest Redis uses, and the limit from which on new work is refused.',
      'what',
    ),
  }
  return {
    ...gauges,
    up,
    /** As for a store that does not answer. */
    clear(): void {
      for (const gauge of Object.values(gauges)) gauge.reset()
      // Without labels there is one series, and a reset leaves 0, as if nothing waited.
      gauges.webhooks.remove()
      gauges.webhookLag.remove()
      gauges.history.remove()
      gauges.historyLag.remove()
      up.set(0)
    },
  }
}
