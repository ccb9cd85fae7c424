import type { LaneLimits } from '../../../config/lanes.ts'
import { bookTrial, findBreakerState } from '../../../ratelimit/breaker.ts'
import type { RefusedFor, Taken } from '../../../ratelimit/gate.ts'
import type { Amounts, Bounds, Dimension, EffectiveLimits } from '../../../ratelimit/limits.ts'
import { DIMENSIONS } from '../../../ratelimit/limits.ts'
import { computeLived, findLived } from '../../../ratelimit/slowdown.ts'
import type { Pacing } from '../../../ratelimit/window-learning.ts'
import { noteHeld, STEPS } from '../../../ratelimit/window-learning.ts'
import type { BucketState } from './bucket.ts'
import { advance, findLeases } from './bucket.ts'
import { computeReserve, stakeClaim, useClaim } from './claim.ts'
import { addToLedger, computeLedgerWaits } from './ledger.ts'

/** Rounding of sums of doubles, in requests or tokens. */
const EPSILON = 1e-6
/** When to ask again where nothing but another call's end can tell, ms. */
const POLL_MS = 50
/** The same where that call is a probe or a trial of the breaker. */
const PROBE_POLL_MS = 250
/** How long after its lease a permit can still be settled, ms. */
const KEEP_MS = 3_600_000

const WAITING_FOR: RefusedFor[] = ['requests', 'tokens', 'tokens', 'tokens']

/**
 * Grants the longest prefix of the costs that may leave now, each of them whole or not at all.
 *
 * @param tenants whose each of the costs is
 */
export function take(
  state: BucketState,
  lane: LaneLimits,
  costs: Amounts[],
  tenants: readonly string[],
  leaseMs: number,
  serverNow: number,
): Taken {
  const { now, limits, pacing, closedSlice } = advance(state, lane, serverNow)
  if (closedSlice) forgetPermits(state, now)
  const permits: string[] = []
  for (const [index, cost] of costs.entries()) {
    const tenant = tenants[index] ?? ''
    const refusal = refuse(state, lane, limits, pacing, cost, tenant, now)
    if (refusal) return { permits, ...refusal }
    permits.push(grant(state, limits, cost, tenant, leaseMs, now))
  }
  return { permits, waitMs: 0, waitingFor: null }
}

type Refusal = Omit<Taken, 'permits'>

/** Null when the cost may leave now; else the longest of the waits and what it is for. */
function refuse(
  state: BucketState,
  lane: LaneLimits,
  limits: EffectiveLimits,
  pacing: Pacing,
  cost: Amounts,
  tenant: string,
  now: number,
): Refusal | null {
  for (const dimension of DIMENSIONS) {
    const most = Math.min(
      largestOf(lane, limits, dimension) ?? Number.POSITIVE_INFINITY,
      limits.dailyCapacities[dimension] ?? Number.POSITIVE_INFINITY,
    )
    if (cost[dimension] > most)
      return { waitMs: Number.POSITIVE_INFINITY, waitingFor: WAITING_FOR[dimension] ?? null }
  }

  let longest = 0
  let waitingFor: RefusedFor | null = null
  const wait = (ms: number | null, reason: RefusedFor) => {
    if (ms === null || ms <= longest) return
    longest = ms
    waitingFor = reason
  }

  wait(state.pausedUntil - now, 'provider_pause')
  wait(findBreakerWait(state, tenant, now), 'breaker')
  const leases = findLeases(state, now)
  if (lane.max_concurrency !== undefined && leases.length >= lane.max_concurrency)
    wait(Math.min(POLL_MS, Math.min(...leases) - now), 'concurrency')

  const capacities = lane.window_auto ? stretch(limits.capacities, cost) : limits.capacities
  const windowWaits = computeLedgerWaits(state.window, capacities, cost, now, lane.headroom, pacing.jitter)
  const dayWaits = computeLedgerWaits(state.day, limits.dailyCapacities, cost, now, lane.headroom)
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    const reason = WAITING_FOR[dimension]!
    wait(dayWaits[dimension], reason)
    if (rate === null || cost[dimension] === 0) continue
    const level = state.levels[dimension]
    if (level < -EPSILON)
      wait(findLived(state.slowdown, computeLived(state.slowdown, now) - level / rate) - now, reason)
    wait(windowWaits[dimension], reason)
    const reserve = computeReserve(state.claim, dimension, cost, limits.rates, now)
    if (reserve > 0 && state.window.sum[dimension] + cost[dimension] + reserve > capacities[dimension]!)
      wait(POLL_MS, reason)
  }
  if (lane.window_auto && windowWaits.some((ms) => ms !== null))
    noteHeld(state.windowLearning!, shareOf(cost, limits.capacities), now)
  state.claim = stakeClaim(state.claim, windowWaits, cost, now)
  return waitingFor === null ? null : { waitMs: Math.ceil(longest), waitingFor }
}

/** How long the breaker keeps a call of this tenant; 0 or less: it may leave. */
function findBreakerWait({ breaker, permits }: BucketState, tenant: string, now: number): number {
  const breakerState = findBreakerState(breaker, now)
  if (breakerState === 'closed') return 0
  const untilEnd = (permit: string | null | undefined) => {
    const end = permit ? permits.get(permit)?.leaseEnd : undefined
    return end === undefined ? 0 : Math.min(PROBE_POLL_MS, end - now)
  }
  if (breaker.tenants.includes(tenant))
    return breakerState === 'open' ? breaker.openUntil - now : untilEnd(breaker.probe)
  const trial = breaker.trials.find((one) => one.tenant === tenant)
  return Math.max(breaker.trialAt - now, untilEnd(trial?.permit))
}

function grant(
  state: BucketState,
  limits: EffectiveLimits,
  cost: Amounts,
  tenant: string,
  leaseMs: number,
  now: number,
): string {
  for (const dimension of DIMENSIONS) {
    if (limits.rates[dimension] !== null) state.levels[dimension] -= cost[dimension]
    state.taken[dimension] += cost[dimension]
  }
  addToLedger(state.window, cost)
  addToLedger(state.day, cost)
  state.claim = useClaim(state.claim, cost)
  state.sequence++
  const id = `${Math.floor(now)}-${state.sequence}`
  if (findBreakerState(state.breaker, now) !== 'closed') bookTrial(state.breaker, tenant, id, now)
  state.permits.set(id, { leaseEnd: now + leaseMs, takenAt: now, cost, used: [...state.window.sum] })
  return id
}

function forgetPermits(state: BucketState, now: number): void {
  for (const [id, permit] of state.permits) {
    if (permit.leaseEnd <= now - KEEP_MS) state.permits.delete(id)
  }
}

/** The largest call that may ever pass: where the window is learned, one that fits into a minute. */
function largestOf(lane: LaneLimits, limits: EffectiveLimits, dimension: Dimension): number | null {
  const capacity = limits.capacities[dimension]
  if (capacity === null || !lane.window_auto) return capacity
  return Math.max(capacity, (limits.rates[dimension]! / lane.headroom) * STEPS.at(-1)!.window)
}

/** A call larger than a short window's capacity passes where the window holds nothing else. */
function stretch(capacities: Bounds, cost: Amounts): Bounds {
  return capacities.map((capacity, dimension) =>
    capacity === null ? null : Math.max(capacity, cost[dimension as Dimension]),
  ) as Bounds
}

/** The largest share that a call takes of a capacity. */
function shareOf(cost: Amounts, capacities: Bounds): number {
  return Math.max(...DIMENSIONS.map((dimension) => cost[dimension] / (capacities[dimension] ?? Infinity)))
}
