import type { Registry } from '@prometheus-io/client'
import { type LabelBounds, OTHER } from './label-bound.ts'
import { createGauges } from './store-gauges.ts'
import type { StoreReading } from './store-reading.ts'

/** A reading is reused for this long, ms. */
const SERVES_MS = 1000

/** Maximum time that a scrape waits for the store, ms. */
const LIMIT_MS = 2000

/**
 * Reads the store when somebody scrapes. While it does not answer, `sluice_store_up` is 0 and its other metrics are absent rather than
 * outdated.
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
    // Added up, because values beyond the limit share a series.
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
