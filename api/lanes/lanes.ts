import { type Lane, listLanes, resolveLane } from '../../config/lanes.ts'
import type { Config } from '../../config/schema.ts'
import type { Priority } from '../../jobs/job.ts'
import { LONGEST_PAUSE_DELAY_MS } from '../../jobs/lane-queue.ts'
import type { Queues } from '../../jobs/queue.ts'
import type { BrokenCall, BrokenCalls } from '../../ratelimit/broken-calls.ts'
import { findOpening } from '../../ratelimit/compose-state.ts'
import type { Fairness } from '../../ratelimit/fairness.ts'
import type { Forecaster } from '../../ratelimit/forecaster.ts'
import type { Gate } from '../../ratelimit/gate.ts'
import type { Latencies } from '../../ratelimit/latencies.ts'
import type { CountedRates, HeldBackBy, LimitsView, SharedLimitView } from './shared-limits.ts'
import { computeUtilisation, findTightest, showLimits, showSharedLimits, toCounted } from './shared-limits.ts'
import { type SourceView, showSources } from './sources.ts'
import { showTiers, type TierView } from './tiers.ts'
import { showTokenCounting, type TokenCountingView } from './token-counting.ts'

/** A lane as operators see it. Rates are per minute, times RFC 3339. */
export type LaneView = {
  id: string
  object: 'lane'
  provider: string
  model: string
  kind: string
  /** As configured; null: no limit. */
  limits: LimitsView
  /** The shared limits that include the lane. */
  shared_limits: SharedLimitView[]
  /** While jobs wait: the limit with the least room. */
  held_back_by: HeldBackBy | null
  /** Keys, accounts, regions or deployments that serve the lane. The lane's own members are sums over all of them. */
  sources: SourceView[]
  /** The provider's window, ms: configured, and learned; null where it is configured. */
  window: { configured: number | 'auto'; learned: number | null }
  /** What a call finally counts: its estimate, or the tokens used; by the provider's kind, or learned. */
  token_counting: TokenCountingView
  /** Lower limits that the provider reported. */
  learned: { requests: number | null; tokens: number | null; concurrency: number | null }
  /** Maximum rates, from limit, headroom and learned limits, times `speed`. */
  rates: CountedRates
  /** Share of the rate in use; below 1 while the lane recovers from a 429. */
  speed: number
  /** Level of each bucket; below 0 is a debt that the refill pays off first. */
  levels: CountedRates
  /** Used share of the provider's window, by the fullest dimension, 0 to 1. */
  utilisation: number
  used: CountedRates
  backlog: { waiting: number; delayed: number; held: number }
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  waiting_for: string | null
  /**
   * `failures`: consecutive broken calls. `held_tenants`: the tenants whose calls it holds back while it is not closed. `last_broken`: the
   * last broken calls, the latest first.
   */
  breaker: {
    state: 'closed' | 'open' | 'half_open'
    failures: number
    held_tenants: string[]
    last_broken: BrokenCall[]
  }
  /** Service tiers other than standard that met a 429 or a broken call. `paused_until`, `speed` and `breaker` above are standard's. */
  tiers: TierView[]
  latency_ms: { p50: number | null; p95: number | null }
  /** Number of 429s since the lane was first used. */
  throttled: number
}

export type LaneControl = {
  list(): Promise<LaneView[]>
  get(id: string): Promise<LaneView | null>
  /** Stops calls; null: until resumed. False: there is no such lane. */
  pause(id: string, forMs: number | null, reason: string): Promise<boolean>
  resume(id: string): Promise<boolean>
  /** When a job would start that is queued now, Unix ms; null: not known. */
  forecast(id: string, tenant: string, priority: Priority): Promise<number | null>
}

/** The clocks of workers and of Redis should differ by less than this, ms. */
const CLOCKS_DIFFER_MS = 60_000

/** Reads and controls lanes, for all processes. */
export function createLaneControl(deps: {
  config: () => Config
  gate: Gate
  queues: Pick<Queues, 'backlog' | 'lanes' | 'promote'>
  fairness: Pick<Fairness, 'read'>
  forecaster: Pick<Forecaster, 'newcomer'>
  latencies: Latencies
  brokenCalls: Pick<BrokenCalls, 'read'>
  /** Number of scheduled jobs by lane. */
  scheduled: () => Promise<ReadonlyMap<string, number>>
  /** Wakes the lane's loops. */
  wake: (lane: string) => Promise<unknown>
  /** Unix ms. */
  now: () => number
}): LaneControl {
  const { config, gate, queues, fairness, latencies } = deps

  async function view(lane: Lane): Promise<LaneView> {
    const [state, backlog, fair, latency, lastBroken, scheduled] = await Promise.all([
      gate.read(lane),
      queues.backlog(lane.id),
      fairness.read(lane.id),
      latencies.read(lane.id),
      deps.brokenCalls.read(lane.id),
      deps.scheduled(),
    ])
    const { limits } = lane
    const pausedLongest = [state, ...state.shared].reduce((longest, one) =>
      (one.pausedUntil ?? 0) > (longest.pausedUntil ?? 0) ? one : longest,
    )
    const paused = pausedLongest.pausedUntil !== null
    // Workers may have noted a pause that has ended since.
    const waitingFor = paused
      ? 'provider_pause'
      : fair.waitingFor === 'provider_pause'
        ? null
        : fair.waitingFor
    return {
      id: lane.id,
      object: 'lane',
      provider: lane.provider,
      model: lane.model,
      kind: lane.kind,
      limits: showLimits(limits, state.learnedWindow),
      shared_limits: showSharedLimits(lane, state),
      held_back_by: waitingFor === null ? null : findTightest(lane, state),
      sources: showSources(lane, state),
      window: {
        configured: limits.window_auto ? 'auto' : limits.window,
        learned: state.learnedWindow,
      },
      token_counting: showTokenCounting(lane, state),
      learned: {
        requests: state.learned.requests?.limit ?? null,
        tokens: state.learned.tokens?.limit ?? null,
        concurrency: state.learnedConcurrency,
      },
      rates: toCounted(state.rates),
      speed: state.speed,
      levels: toCounted(state.levels),
      utilisation: computeUtilisation(state),
      used: toCounted(state.used),
      backlog: {
        waiting: backlog.waiting,
        delayed: backlog.delayed + (scheduled.get(lane.id) ?? 0),
        held: backlog.active,
      },
      in_flight: state.inFlight,
      paused_until: paused ? new Date(pausedLongest.pausedUntil!).toISOString() : null,
      paused_reason: pausedLongest.pausedReason,
      waiting_for: waitingFor,
      breaker: {
        state: state.breaker.state,
        failures: state.breaker.failures,
        held_tenants: state.breaker.heldTenants,
        last_broken: lastBroken,
      },
      tiers: showTiers(state, state.shared),
      latency_ms: latency,
      throttled: state.throttled,
    }
  }

  /** Configured lanes, and lanes of `"*"` models that had work. */
  async function lanes(): Promise<Lane[]> {
    const found = new Map(listLanes(config()).map((lane) => [lane.id, lane]))
    for (const id of await queues.lanes()) {
      const lane = found.has(id) ? null : resolveLane(config(), id)
      if (lane) found.set(id, lane)
    }
    return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  return {
    list: async () => Promise.all((await lanes()).map(view)),
    async get(id) {
      const lane = resolveLane(config(), id)
      return lane && view(lane)
    },
    async pause(id, forMs, reason) {
      const lane = resolveLane(config(), id)
      if (!lane) return false
      await gate.pause(lane, forMs ?? Number.POSITIVE_INFINITY, reason)
      return true
    },
    async resume(id) {
      const lane = resolveLane(config(), id)
      if (!lane) return false
      const state = await gate.read(lane)
      const { pausedUntil: own, shared, sources } = state
      const ofTiers = [state, ...shared, ...sources].flatMap(({ tiers }) => tiers)
      const ends = [
        own,
        ...[...shared, ...ofTiers].map((one) => one.pausedUntil),
        ...sources.map(findOpening),
      ].filter((end) => end !== null)
      const pausedUntil = ends.length === 0 ? null : Math.max(...ends)
      await gate.resume(lane)
      // Jobs delayed by the pause (workers/hand-off.ts) become due. Their times may come from another clock.
      if (pausedUntil !== null) {
        const dueBy = Math.min(pausedUntil, deps.now() + LONGEST_PAUSE_DELAY_MS)
        await queues.promote(id, dueBy + CLOCKS_DIFFER_MS)
      }
      await deps.wake(id)
      return true
    },
    async forecast(id, tenant, priority) {
      const { startAt } = await deps.forecaster.newcomer(id, { tenant, band: priority })
      return startAt
    },
  }
}
