import { Gauge, type Registry } from '@prometheus-io/client'

/** What is shown of a reading of the store. */
export function createGauges(registry: Registry) {
  const define = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Gauge<Label>({ name, help, labelNames, registers: [registry] })
  const up = define('sluice_store_up', 'Whether Redis answered this scrape, 1 or 0.')
  const gauges = {
    jobs: define('sluice_jobs', 'Jobs in the store, by status.', 'tenant', 'status'),
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
      'Level of a bucket. A level below 0 is a debt, which the refill repays first.',
      'lane',
      'dimension',
    ),
    rate: define(
      'sluice_lane_rate_per_second',
      'Refill rate of a bucket, with limit, headroom and learned corrections, but without the speed.',
      'lane',
      'dimension',
    ),
    concurrency: define(
      'sluice_lane_concurrency_limit',
      'Limit of concurrent calls: as configured, or as found by `max_concurrency: auto`.',
      'lane',
    ),
    utilisation: define(
      'sluice_lane_utilisation_ratio',
      "Used share of the provider's window, in the fullest dimension.",
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
      'How long a job queued now would wait, for the tenant with the longest wait.',
      'lane',
    ),
    heldBack: define(
      'sluice_lane_held_back',
      "Always 1: jobs of the lane wait for this limit, a shared one by its name or the lane's own limits.",
      'lane',
      'limit',
    ),
    sharedUtilisation: define(
      'sluice_shared_limit_utilisation_ratio',
      'Used share of the window of a shared limit, in the fullest dimension.',
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
      'Used share of the window of a source, in the fullest dimension.',
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
      'Whether a source is disabled because the provider refused its key or account, or its credit is used up, 1 or 0.',
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
      'Spent part of that budget in its current window.',
      'tenant',
      'owner',
      'per',
    ),
    budgetReserved: define(
      'sluice_budget_reserved_usd',
      'Part of that budget that is reserved for open jobs.',
      'tenant',
      'owner',
      'per',
    ),
    budgetUsed: define(
      'sluice_budget_used_ratio',
      'Spent and reserved share of that budget; 1 or more: exhausted.',
      'tenant',
      'owner',
      'per',
    ),
    webhooks: define('sluice_webhooks_pending', 'Webhooks that are still to be delivered.'),
    webhookLag: define('sluice_webhook_lag_seconds', 'How long the oldest webhook has been due.'),
    history: define('sluice_history_waiting_jobs', 'Ended jobs that are still to be copied to the history.'),
    historyLag: define('sluice_history_lag_seconds', 'How long the oldest of them has waited.'),
    memory: define(
      'sluice_store_memory_ratio',
      'Share of memory that the fullest Redis uses, and the limit above which new work is refused.',
      'what',
    ),
  }
  return {
    ...gauges,
    up,
    /** The same state as for a store that does not answer. */
    clear(): void {
      for (const gauge of Object.values(gauges)) gauge.reset()
      // A gauge without labels has one series, and a reset would leave 0, as if nothing were waiting.
      gauges.webhooks.remove()
      gauges.webhookLag.remove()
      gauges.history.remove()
      gauges.historyLag.remove()
      up.set(0)
    },
  }
}
