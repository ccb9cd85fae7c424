import type { Amounts, Bounds, Dimension } from '../../../ratelimit/limits.ts'
import { DIMENSIONS } from '../../../ratelimit/limits.ts'

/**
 * Keeps small calls from starving a large one: the window's last free bit is always enough for something small. So
 * the first call that finds no room claims some, and smaller ones leave it half of the refill until it has enough.
 * Half, so that neither starves. Calls at least as large may use the claimed room: no identity is needed.
 */
export type Claim = {
  dimension: Dimension
  amount: number
  /** Logical ms since which room is kept. */
  since: number
  /** Logical ms at which it lapses, unless its taker asks again. */
  until: number
}

/** A claim outlives the wait that its taker was given by this much, ms. */
const PATIENCE_MS = 1000

/** Room that a call of this cost has to leave in the dimension. */
export function computeReserve(
  claim: Claim | null,
  { dimension, cost, rates }: { dimension: Dimension; cost: Amounts; rates: Bounds },
  now: number,
): number {
  if (claim === null || claim.dimension !== dimension || now > claim.until) return 0
  if (cost[dimension] >= claim.amount) return 0
  return Math.min(claim.amount, ((rates[dimension] ?? 0) / 2) * (now - claim.since))
}

/** The claim after a call found no room in the window for so long; the oldest live claim stays. */
export function stakeClaim(
  claim: Claim | null,
  { waits, cost }: { waits: Bounds; cost: Amounts },
  now: number,
): Claim | null {
  let longest: Dimension | null = null
  for (const dimension of DIMENSIONS) {
    if ((waits[dimension] ?? 0) > (longest === null ? 0 : (waits[longest] ?? 0))) longest = dimension
  }
  if (longest === null) return claim
  const amount = cost[longest]
  const until = now + (waits[longest] ?? 0) + PATIENCE_MS
  if (claim === null || now > claim.until) return { dimension: longest, amount, since: now, until }
  if (claim.dimension === longest && claim.amount === amount) return { ...claim, until }
  return claim
}

/** The claim after a call has passed: it is used when that call was as large. */
export function useClaim(claim: Claim | null, cost: Amounts): Claim | null {
  return claim !== null && cost[claim.dimension] >= claim.amount ? null : claim
}
