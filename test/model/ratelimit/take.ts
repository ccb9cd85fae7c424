import { type Breaker, bookTrial, findBreakerState } from '../../../ratelimit/breaker.ts'
import type { Amounts, Bounds, Dimension } from '../../../ratelimit/limits.ts'
import { DIMENSIONS, REQUESTS, TOKENS } from '../../../ratelimit/limits.ts'
import { computeLived, computeSpeed, findLived } from '../../../ratelimit/slowdown.ts'
import type { RefusedFor, Taken } from '../../../ratelimit/take-script.ts'
import { noteHeld, STEPS } from '../../../ratelimit/window-learning.ts'
import type { Bucket, BucketState, Moment, TierState } from './bucket.ts'
import { advance, findLeases, findTier } from './bucket.ts'
import { computeReserve, stakeClaim, useClaim } from './claim.ts'
import { addToLedger, computeLedgerWaits } from './ledger.ts'
import { computeLoad } from './settle.ts'
import { creditOf, findPayOff, findPoolWait, poolSources } from './source-pool.ts'
import { countTaken, findPaced } from './token-counting.ts'

/** Rounding of sums of doubles, in requests or tokens. */
const EPSILON = 1e-6
/** When to ask again if only the end of another call can tell, ms. */
const POLL_MS = 50
/** The same if that call is a probe or a trial of the breaker. */
const PROBE_POLL_MS = 250
/** How far a slowed tier may be ahead of its turn, ms. */
const TIER_BURST_MS = 100
/** How long after its lease a permit can still be settled, ms. */
const MINUTE_MS = 60_000
const KEEP_MS = 3_600_000

const WAITING_FOR: RefusedFor[] = ['requests', 'tokens', 'tokens', 'tokens']

/** One of the buckets that a lane takes from, brought to now. */
type Opened = Bucket & Moment

/**
 * Grants the longest prefix of the costs that may leave now, each of them from every bucket or from none, and of the sources
 * from the one with the most room.
 *
 * @param buckets the lane's own, those of its shared limits, those of its sources
 */
export function take(
  buckets: readonly Bucket[],
  calls: readonly Call[],
  { leaseMs, serverNow }: { leaseMs: number; serverNow: number },
): Taken {
  const opened = buckets.map((bucket) => ({ ...bucket, ...advance(bucket.state, bucket.limited, serverNow) }))
  for (const { state, now, closedSlice } of opened) if (closedSlice) forgetPermits(state, now)
  const permits: string[] = []
  for (const call of calls) {
    const decision = decide(opened, call)
    if ('waitMs' in decision) return { permits, ...decision }
    permits.push(grant(opened, { ...call, source: decision.source, leaseMs }))
  }
  return { permits, waitMs: 0, waitingFor: null }
}

/** A cost, its tenant, the source that it has to use ('': any), and its tier of service. */
type Call = { cost: Amounts; caller: Caller }
type Caller = { tenant: string; source: string; tier: string }

type Refusal = Omit<Taken, 'permits'>
type TellWait = (ms: number | null, reason: RefusedFor) => void

/** The source of a cost that may leave now; else the longest of the waits and its reason. */
function decide(all: readonly Opened[], { cost, caller }: Call): { source: Opened | null } | Refusal {
  const buckets = all.filter(({ source }) => source === undefined)
  const sources = all.filter(({ source }) => source !== undefined)
  const chosen = sources.length === 0 ? { source: null } : chooseSource(sources, { cost, caller })
  for (const bucket of buckets) {
    const impossible = findImpossible(bucket, cost)
    if (impossible !== null) return { waitMs: Number.POSITIVE_INFINITY, waitingFor: impossible }
  }
  if ('waitMs' in chosen && chosen.waitMs === Number.POSITIVE_INFINITY) return chosen

  let longest = 0
  let waitingFor: RefusedFor | null = null
  const wait: TellWait = (ms, reason) => {
    if (ms === null || ms <= longest) return
    longest = ms
    waitingFor = reason
  }
  // If every bucket clearly has room, none is asked: asking records what was held back.
  if (
    buckets.every((bucket) => passes(bucket, { cost, tier: caller.tier, creditMs: 0 })) &&
    !('waitMs' in chosen)
  )
    return chosen
  for (const [index, bucket] of buckets.entries()) {
    findTierWaits(bucket, { ...caller, isJudged: index === 0 && sources.length === 0 }, wait)
    holdBack(bucket, findWaits(bucket, { cost, ...NO_CREDIT }, wait), cost)
  }
  if ('waitMs' in chosen) wait(chosen.waitMs, chosen.waitingFor!)
  else if (waitingFor === null) return chosen
  return { waitMs: Math.ceil(longest), waitingFor: waitingFor! }
}

/**
 * The source with the most room for its weight, sound ones first; else the shortest of their waits. While the sources
 * together have room, each may go into debt a little, so that several may take a call, and the best fit does.
 */
function chooseSource(all: readonly Opened[], { cost, caller }: Call): { source: Opened } | Refusal {
  const only = all.filter(({ source }) => source!.name === caller.source)
  const candidates: { bucket: Opened; order: number[] }[] = []
  let soonest: { bucket: Opened; waitMs: number; waitingFor: RefusedFor; waits: Bounds } | null = null
  let impossible: RefusedFor | null = null
  const pool = poolSources(all, caller.tier)
  const poolMs = findPoolWait(pool, cost)
  for (const bucket of only.length > 0 ? only : all) {
    const never = findImpossible(bucket, cost)
    if (never !== null) {
      impossible ??= never
      continue
    }
    const { state, now } = bucket
    let longest = 0
    let reason: RefusedFor | null = null
    let waits: Bounds = [null, null, null, null]
    const wait: TellWait = (ms, why) => {
      if (ms === null || ms <= longest) return
      longest = ms
      reason = why
    }
    const creditMs = creditOf(bucket)
    if (!passes(bucket, { cost, tier: caller.tier, creditMs: poolMs > 0 ? 0 : creditMs })) {
      findTierWaits(bucket, { ...caller, isJudged: true }, wait)
      waits = findWaits(bucket, { cost, creditMs, poolMs }, wait)
    }
    if (reason === null)
      candidates.push({
        bucket,
        order: [
          isSound(state, caller.tier, now) ? 0 : 1,
          findPayOff(bucket, cost, pool),
          ...measureFullness(bucket),
        ],
      })
    else if (soonest === null || longest < soonest.waitMs)
      soonest = { bucket, waitMs: longest, waitingFor: reason, waits }
  }
  const [first, ...others] = candidates
  if (first !== undefined) {
    const isBefore = (one: number[], other: number[]) => {
      const at = one.findIndex((value, index) => value !== other[index])
      return at !== -1 && one[at]! < other[at]!
    }
    const best = others.reduce((found, one) => (isBefore(one.order, found.order) ? one : found), first)
    return { source: best.bucket }
  }
  if (soonest === null) return { waitMs: Number.POSITIVE_INFINITY, waitingFor: impossible }
  holdBack(soonest.bucket, soonest.waits, cost)
  return { waitMs: soonest.waitMs, waitingFor: soonest.waitingFor }
}

function findImpossible(bucket: Opened, cost: Amounts): RefusedFor | null {
  const impossible = DIMENSIONS.find((dimension) => cost[dimension] > largestOf(bucket, dimension))
  return impossible === undefined ? null : WAITING_FOR[impossible]!
}

function findShutWait({ shut, permits }: BucketState, now: number): number {
  if (shut === null) return 0
  return now < shut.till ? shut.till - now : untilEnd(permits, shut.probe, now)
}

/** The breaker is closed, or a call may try now whether the provider works. */
function isSound(state: BucketState, tier: string, now: number): boolean {
  const kept = findTier(state, tier)
  if (kept === undefined) return true
  const { permits } = state
  const { breaker } = kept
  const breakerState = findBreakerState(breaker, now)
  if (breakerState !== 'half_open') return breakerState === 'closed'
  return now >= breaker.trialAt && untilEnd(permits, breaker.probe, now) <= 0
}

/** By the fullest limit, then by the number of its calls. */
function measureFullness({ state, limited, limits, now, source }: Opened): [fullness: number, taken: number] {
  const slots =
    limited.max_concurrency === undefined ? 0 : findLeases(state, now).length / limited.max_concurrency
  const { weight } = source!
  return [Math.max(computeLoad(state, limits), slots) / weight, state.taken[REQUESTS] / weight]
}

/**
 * Whether the cost may clearly leave, as far as this bucket goes.
 *
 * @param creditMs how far the levels may be below zero, in ms of their rates
 */
function passes(
  { state, limited, limits, now }: Opened,
  { cost, tier, creditMs }: { cost: Amounts; tier: string; creditMs: number },
): boolean {
  if (state.pausedUntil > now || state.shut || state.claim) return false
  const kept = findTier(state, tier)
  if (kept && (kept.pausedUntil > now || kept.asking || kept.breaker.openings > 0)) return false
  if (kept && kept.nextAt !== null && computeSpeed(kept.slowdown, now) < 1) return false
  if (limited.max_concurrency !== undefined && findLeases(state, now).length >= limited.max_concurrency)
    return false
  return DIMENSIONS.every((dimension) => {
    if (cost[dimension] === 0) return true
    const rate = limits.rates[dimension]
    if (rate !== null && state.levels[dimension] < -EPSILON - creditMs * rate) return false
    const fits = (sum: number, capacity: number | null) =>
      capacity === null || sum + cost[dimension] <= capacity
    return (
      fits(state.window.sum[dimension], limits.capacities[dimension]) &&
      fits(state.day.sum[dimension], limits.dailyCapacities[dimension])
    )
  })
}

/** What the sources of a lane lend each other. */
type Credit = { creditMs: number; poolMs: number }
const NO_CREDIT: Credit = { creditMs: 0, poolMs: Number.POSITIVE_INFINITY }

/** Reports every wait for slots and amounts in this bucket; answers the waits for its window. */
function findWaits(
  { state, limited, limits, pacing, now }: Opened,
  { cost, creditMs, poolMs }: { cost: Amounts } & Credit,
  wait: TellWait,
): Bounds {
  const leases = findLeases(state, now)
  if (limited.max_concurrency !== undefined && leases.length >= limited.max_concurrency)
    wait(Math.min(POLL_MS, Math.min(...leases) - now), 'concurrency')

  const { headroom } = limited
  const capacities = limited.window_auto ? stretch(limits.capacities, cost) : limits.capacities
  const windowWaits = computeLedgerWaits(
    state.window,
    { capacities, cost, headroom, jitter: pacing.jitter },
    now,
  )
  const dayWaits = computeLedgerWaits(state.day, { capacities: limits.dailyCapacities, cost, headroom }, now)
  const lived = computeLived(state.slowdown, now)
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    const reason = WAITING_FOR[dimension]!
    wait(dayWaits[dimension], reason)
    if (rate === null || cost[dimension] === 0) continue
    const owedMs = -state.levels[dimension] / rate
    const msUntil = (mostOwed: number) => findLived(state.slowdown, lived + owedMs - mostOwed) - now
    if (state.levels[dimension] < -EPSILON) {
      const paidOff = msUntil(0)
      // Earlier, if the sources together have room by then.
      wait(poolMs < paidOff ? Math.max(poolMs, msUntil(creditMs)) : paidOff, reason)
    }
    wait(windowWaits[dimension], reason)
    const reserve = computeReserve(state.claim, { dimension, cost, rates: limits.rates }, now)
    if (reserve > 0 && state.window.sum[dimension] + cost[dimension] + reserve > capacities[dimension]!)
      wait(POLL_MS, reason)
  }
  return windowWaits
}

/** Records that the bucket's window held a cost back. */
function holdBack({ state, limited, limits, now }: Opened, windowWaits: Bounds, cost: Amounts): void {
  if (limited.window_auto && windowWaits.some((ms) => ms !== null))
    noteHeld(state.windowLearning!, shareOf(cost, limits.capacities), now)
  state.claim = stakeClaim(state.claim, { waits: windowWaits, cost }, now)
}

function untilEnd(permits: BucketState['permits'], permit: string | null | undefined, now: number): number {
  const end = permit ? permits.get(permit)?.leaseEnd : undefined
  return end === undefined ? 0 : Math.min(PROBE_POLL_MS, end - now)
}

/** How long the pauses, the source, the breaker and the tier's own pace hold a call back. */
function findTierWaits(
  { state, source, now }: Opened,
  { tenant, tier, isJudged }: Pick<Caller, 'tenant' | 'tier'> & { isJudged: boolean },
  wait: TellWait,
): void {
  wait((state.held?.until ?? 0) - now, 'provider_pause')
  if (source !== undefined) wait(findShutWait(state, now), 'provider_pause')
  const kept = findTier(state, tier)
  if (kept === undefined) return
  wait(kept.pausedUntil - now, 'tier')
  if (kept.asking && kept.pausedUntil <= now) wait(untilEnd(state.permits, kept.asking.probe, now), 'tier')
  if (kept.nextAt !== null && computeSpeed(kept.slowdown, now) < 1)
    wait(kept.nextAt - now - TIER_BURST_MS, 'tier')
  if (isJudged) wait(findBreakerWait(state.permits, { breaker: kept.breaker, tenant }, now), 'breaker')
}

/** A tier that is slowed down paces itself, beside the levels that all tiers share. */
function bookTurn(tier: TierState, { rates, cost }: { rates: Bounds; cost: Amounts }, now: number): void {
  if (tier.nextAt === null) return
  const speed = computeSpeed(tier.slowdown, now)
  const spans = DIMENSIONS.map((dimension) => {
    const rate = rates[dimension]
    return rate === null || speed === 1 ? 0 : cost[dimension] / rate
  })
  tier.nextAt = Math.max(now, tier.nextAt) + Math.max(...spans) / speed
}

/** How long the breaker holds back a call of this tenant; 0 or less: it may leave. */
function findBreakerWait(
  permits: BucketState['permits'],
  { breaker, tenant }: { breaker: Breaker; tenant: string },
  now: number,
): number {
  const breakerState = findBreakerState(breaker, now)
  if (breakerState === 'closed') return 0
  if (breaker.tenants.includes(tenant))
    return breakerState === 'open' ? breaker.openUntil - now : untilEnd(permits, breaker.probe, now)
  const trial = breaker.trials.find((one) => one.tenant === tenant)
  return Math.max(breaker.trialAt - now, untilEnd(permits, trial?.permit, now))
}

/**
 * One permit for all buckets that it is taken from, with a number that none of them gave before. It names its source.
 */
function grant(
  all: readonly Opened[],
  { source, cost, caller, leaseMs }: Call & { source: Opened | null; leaseMs: number },
): string {
  const lane = all[0]!
  const sequence = 1 + Math.max(...all.map(({ state }) => state.sequence))
  const id = `${Math.floor(lane.now)}-${sequence}${source === null ? '' : `@${source.source!.name}`}`
  for (const { state, limits, pacing, now } of all.filter(
    (one) => one.source === undefined || one === source,
  )) {
    for (const dimension of DIMENSIONS) {
      if (limits.rates[dimension] !== null) state.levels[dimension] -= cost[dimension]
      state.taken[dimension] += cost[dimension]
    }
    addToLedger(state.window, cost)
    addToLedger(state.day, cost)
    state.claim = useClaim(state.claim, cost)
    state.sequence = sequence
    const tier = findTier(state, caller.tier)
    if (tier) bookTurn(tier, { rates: limits.rates, cost }, now)
    if (tier?.asking) tier.asking.probe = id
    const minute = state.counting && countTaken(state.counting, cost[TOKENS], now)
    const used: Amounts = [...state.window.sum]
    const paced = state.counting && findPaced(state.counting, cost[TOKENS])
    const spared = paced === null ? 0 : cost[TOKENS] - paced
    if (paced !== null && limits.rates[TOKENS] !== null) state.levels[TOKENS] += spared
    // A window shorter than a minute is our own way to pace; one of a minute holds what the provider's does.
    const guarded = pacing.window < MINUTE_MS ? paced : null
    if (guarded !== null)
      for (const ledger of [state.window, state.day]) addToLedger(ledger, [0, -spared, 0, 0])
    const leaseEnd = Math.ceil(now + leaseMs)
    state.permits.set(id, { leaseEnd, takenAt: now, cost, used, minute, paced, guarded })
  }
  const judged = source ?? lane
  const tier = findTier(judged.state, caller.tier)
  if (tier && findBreakerState(tier.breaker, judged.now) !== 'closed')
    bookTrial(tier.breaker, { tenant: caller.tenant, permit: id }, judged.now)
  if (source?.state.shut) source.state.shut.probe = id
  return id
}

function forgetPermits(state: BucketState, now: number): void {
  for (const [id, permit] of state.permits) {
    if (permit.leaseEnd <= now - KEEP_MS) state.permits.delete(id)
  }
}

/** The largest amount that may ever pass; if the window is learned, one that fits into a minute. */
function largestOf({ limited, limits }: Opened, dimension: Dimension): number {
  const daily = limits.dailyCapacities[dimension] ?? Number.POSITIVE_INFINITY
  const capacity = limits.capacities[dimension]
  if (capacity === null) return daily
  if (!limited.window_auto) return Math.min(capacity, daily)
  return Math.min(
    Math.max(capacity, (limits.rates[dimension]! / limited.headroom) * STEPS.at(-1)!.window),
    daily,
  )
}

/** A call larger than a short window's capacity passes if the window holds nothing else. */
function stretch(capacities: Bounds, cost: Amounts): Bounds {
  return capacities.map((capacity, dimension) =>
    capacity === null ? null : Math.max(capacity, cost[dimension as Dimension]),
  ) as Bounds
}

/** The largest share of a capacity that a call takes. */
function shareOf(cost: Amounts, capacities: Bounds): number {
  return Math.max(...DIMENSIONS.map((dimension) => cost[dimension] / (capacities[dimension] ?? Infinity)))
}
