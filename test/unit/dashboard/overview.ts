import type { Lane, Overview, Tenant } from '../../../dashboard/src/wire.ts'

/** An idle lane, except for the given members. */
export function makeLane(given: Partial<Lane> = {}): Lane {
  const none = { requests: null, tokens: null, input_tokens: null, output_tokens: null }
  return {
    id: 'openai/small',
    provider: 'openai',
    model: 'small',
    kind: 'openai',
    limits: {
      ...none,
      requests: 600,
      tokens: 60_000,
      images: null,
      audio_seconds: null,
      requests_per_day: null,
      concurrency: 10,
      window_ms: 60_000,
      headroom: 0.99,
    },
    shared_limits: [],
    sources: [],
    token_counting: { configured: 'estimate', learned: null },
    tiers: [],
    held_back_by: null,
    window: { configured: 60_000, learned: null },
    learned: { requests: null, tokens: null, concurrency: null },
    rates: { ...none, requests: 594, tokens: 59_400 },
    speed: 1,
    levels: { ...none, requests: 1, tokens: 100 },
    utilisation: 0,
    used: { ...none, requests: 0, tokens: 0 },
    backlog: { waiting: 0, delayed: 0, held: 0 },
    in_flight: 0,
    paused_until: null,
    paused_reason: null,
    waiting_for: null,
    breaker: { state: 'closed', failures: 0, held_tenants: [], last_broken: [] },
    latency_ms: { p50: null, p95: null },
    throttled: 0,
    ...given,
  }
}

export function makeTenant(given: Partial<Tenant> = {}): Tenant {
  return {
    id: 'acme',
    weight: 1,
    counts: { scheduled: 0, queued: 0, running: 0, completed: 0, failed: 0, cancelled: 0 },
    max_queued: 100,
    paused_until: null,
    paused_reason: null,
    waiting_for_fair_keys: 0,
    spent_usd: 0,
    reserved_usd: 0,
    budget_usd_per_day: null,
    finished_per_minute: 0,
    share: 0,
    ...given,
  }
}

/** @param second since the beginning of the test's time */
export function makeOverview(second: number, given: Partial<Overview> = {}): Overview {
  return {
    at: new Date(Date.UTC(2026, 10, 24) + second * 1_000).toISOString(),
    lanes: [makeLane()],
    tenants: [makeTenant()],
    tenant_count: 1,
    history: null,
    groups: [],
    batches: [],
    failures: [],
    unpriced: [],
    ...given,
  }
}
