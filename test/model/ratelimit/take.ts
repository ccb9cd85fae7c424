import type { LaneLimits } from '../../../config/lanes.ts'
import { bookTrial, findBreakerState } from '../../../ratelimit/breaker.ts'
import type { RefusedFor, Taken } from '../../../ratelimit/gate.ts'
import type { Amounts, EffectiveLimits } from '../../../ratelimit/limits.ts'
import { DIMENSIONS } from '../../../ratelimit/limits.ts'
import { computeLived, findLived } from '../../../ratelimit/slowdown.ts'
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
  const { now, limits, closedSlice } = advance(state, lane, serverNow)
  if (closedSlice) forgetPermits(state, now)
  const permits: string[] = []
  for (const [index, cost] of costs.entries()) {
    const tenant = tenants[index] ?? ''
    const refusal = refuse(state, lane, limits, cost, tenant, now)
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
  cost: Amounts,
  tenant: string,
  now: number,
): Refusal | null {
  for (const dimension of DIMENSIONS) {
    const most = Math.min(
      limits.capacities[dimension] ?? Number.POSITIVE_INFINITY,
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

  const windowWaits = computeLedgerWaits(state.window, limits.capacities, cost, now, lane.headroom)
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
    if (
      reserve > 0 &&
      state.window.sum[dimension] + cost[dimension] + reserve > limits.capacities[dimension]!
    )
      wait(POLL_MS, reason)
  }
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
