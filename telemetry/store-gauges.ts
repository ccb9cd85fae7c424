import { Gauge, type Registry } from '@prometheus-io/client'

/** What is shown of a reading of the store. */
export function createGauges(registry: Registry) {
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
