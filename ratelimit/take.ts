import type { LaneLimits } from '../config/lanes.ts'
import { findBreakerState } from './breaker.ts'
import type { BucketState, Permit } from './bucket.ts'
import { advance, findLeases } from './bucket.ts'
import { computeReserve, stakeClaim, useClaim } from './claim.ts'
import type { LaneWaitingFor, TakeAnswer } from './gate.ts'
import { addToLedger, computeLedgerWaits } from './ledger.ts'
import type { Amounts, EffectiveLimits } from './limits.ts'
import { DIMENSIONS } from './limits.ts'
import { computeLived, findLived } from './slowdown.ts'

/** Rounding of sums of doubles, in requests or tokens. */
const EPSILON = 1e-6
/** When to ask again where nothing but another call's end can tell, ms. */
const POLL_MS = 50
/** The same where that call is the breaker's probe, on which hangs the whole lane. */
const PROBE_POLL_MS = 250
/** How long after its lease a permit can still be settled, ms. */
const KEEP_MS = 3_600_000

const WAITING_FOR: LaneWaitingFor[] = ['requests', 'tokens', 'tokens', 'tokens']

/** Grants the longest prefix of the costs that may leave now, each of them whole or not at all. */
export function take(
  state: BucketState,
  lane: LaneLimits,
  costs: Amounts[],
  leaseMs: number,
  serverNow: number,
): TakeAnswer {
  const { now, limits, closedSlice } = advance(state, lane, serverNow)
  if (closedSlice) forgetPermits(state, now)
  const permits: string[] = []
  for (const cost of costs) {
    const refusal = refuse(state, lane, limits, cost, now)
    if (refusal) return { permits, ...refusal }
    permits.push(grant(state, limits, cost, leaseMs, now))
  }
  return { permits, waitMs: 0, waitingFor: null, never: false }
}

type Refusal = Pick<TakeAnswer, 'waitMs' | 'waitingFor' | 'never'>

/** Null when the cost may leave now; else the longest of the waits and what it is for. */
function refuse(
  state: BucketState,
  lane: LaneLimits,
  limits: EffectiveLimits,
  cost: Amounts,
  now: number,
): Refusal | null {
  for (const dimension of DIMENSIONS) {
    const most = Math.min(
      limits.capacities[dimension] ?? Number.POSITIVE_INFINITY,
      limits.dailyCapacities[dimension] ?? Number.POSITIVE_INFINITY,
    )
    if (cost[dimension] > most)
      return { waitMs: Number.POSITIVE_INFINITY, waitingFor: WAITING_FOR[dimension] ?? null, never: true }
  }

  let longest = 0
  let waitingFor: LaneWaitingFor | null = null
  const wait = (ms: number | null, reason: LaneWaitingFor) => {
    if (ms === null || ms <= longest) return
    longest = ms
    waitingFor = reason
  }

  wait(state.pausedUntil - now, 'provider_pause')
  const probe = findProbe(state, now)
  if (probe) wait(Math.min(PROBE_POLL_MS, probe.leaseEnd - now), 'provider_pause')
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
  return waitingFor === null ? null : { waitMs: Math.ceil(longest), waitingFor, never: false }
}

/** The call that a half-open breaker waits for, until its lease ends. */
function findProbe({ breaker, permits }: BucketState, now: number): Permit | null {
  if (breaker.probe === null || findBreakerState(breaker, now) !== 'half_open') return null
  return permits.get(breaker.probe) ?? null
}

function grant(
  state: BucketState,
  limits: EffectiveLimits,
  cost: Amounts,
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
  if (findBreakerState(state.breaker, now) === 'half_open') state.breaker.probe = id
  state.permits.set(id, { leaseEnd: now + leaseMs, takenAt: now, cost, used: [...state.window.sum] })
  return id
}

function forgetPermits(state: BucketState, now: number): void {
  for (const [id, permit] of state.permits) {
    if (permit.leaseEnd <= now - KEEP_MS) state.permits.delete(id)
  }
}
