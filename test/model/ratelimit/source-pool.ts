import { findBreakerState } from '../../../ratelimit/breaker.ts'
import type { Amounts } from '../../../ratelimit/limits.ts'
import { DIMENSIONS } from '../../../ratelimit/limits.ts'
import { computeSpeed } from '../../../ratelimit/slowdown.ts'
import { type Bucket, findTier, type Moment } from './bucket.ts'

/** The sum of the sources that may serve. */
export type SourcePool = {
  levels: Amounts
  /** The refill of a millisecond. */
  rates: Amounts
  /** One of them holds less than nothing. */
  isInDebt: boolean
}

/** A level this little below zero is rounding. */
const EPSILON = 1e-6

/** @param tierName the tier of service of the call */
export function poolSources(all: readonly (Bucket & Moment)[], tierName: string): SourcePool {
  const pool: SourcePool = { levels: [0, 0, 0, 0], rates: [0, 0, 0, 0], isInDebt: false }
  for (const { state, limits, now } of all) {
    const tier = findTier(state, tierName)
    if (tier && (tier.pausedUntil > now || tier.asking)) continue
    if (tier && findBreakerState(tier.breaker, now) !== 'closed') continue
    if ((state.held?.until ?? 0) > now || state.shut) continue
    const speed = computeSpeed(state.slowdown, now)
    for (const dimension of DIMENSIONS) {
      const rate = limits.rates[dimension]
      if (rate === null) continue
      pool.levels[dimension] += state.levels[dimension]
      pool.rates[dimension] += rate * speed
      if (state.levels[dimension] < -EPSILON) pool.isInDebt = true
    }
  }
  return pool
}

/** Ms until the sources together owe nothing in the dimensions of this cost; 0: they do not. */
export function findPoolWait({ levels, rates }: SourcePool, cost: Amounts): number {
  let longest = 0
  for (const dimension of DIMENSIONS) {
    if (cost[dimension] > 0 && levels[dimension] < -EPSILON)
      longest = Math.max(longest, -levels[dimension] / rates[dimension])
  }
  return longest
}

/** How far a source may go into debt while the sources together have room, in ms of its rates. */
export function creditOf({ pacing }: Pick<Moment, 'pacing'>): number {
  return Math.min(pacing.saved, pacing.window / 10)
}

/** Ms until a source would owe nothing if it took this cost, by its weight; 0 if none is in debt. */
export function findPayOff(
  { state, limits, source }: Bucket & Moment,
  cost: Amounts,
  pool: SourcePool,
): number {
  if (!pool.isInDebt) return 0
  let longest = 0
  for (const dimension of DIMENSIONS) {
    const rate = limits.rates[dimension]
    if (rate !== null && cost[dimension] > 0)
      longest = Math.max(longest, (cost[dimension] - state.levels[dimension]) / rate)
  }
  return longest / source!.weight
}
