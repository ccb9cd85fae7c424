import type { GateLane } from './addresses.ts'
import type { Cost, LaneWaitingFor, PermitRequest, TakeAnswer } from './gate.ts'
import { STANDARD } from './lane-state.ts'
import type { Amounts } from './limits.ts'
import { countMedia } from './media-limits.ts'

/** What a call waits for; `tier`: calls of other tiers may leave; `breaker`: calls of other tenants may leave, too. */
export type RefusedFor = LaneWaitingFor | 'tier' | 'breaker'

/** `waitMs` is 0 when all were granted, and Infinity when the next one never will be. */
export type Taken = { permits: string[]; waitMs: number; waitingFor: RefusedFor | null }

/**
 * The arguments of `lua/take.lua` for each request, seven a request: requests, tokens, input tokens, output tokens; the tenant ('' none);
 * the source that the call must go to ('' any); the tier of service.
 */
export function encodeRequests(lane: GateLane, requests: readonly PermitRequest[]): (string | number)[] {
  const args: (string | number)[] = []
  for (const { cost, tenant = '', source = '', tier = STANDARD } of requests) {
    args.push(...toAmounts(countMedia(lane, cost)), tenant, source, tier)
  }
  return args
}

/** The answer of `lua/take.lua`. */
export type TakeReply = [waitMs: number, waitingFor: string, ...permits: string[]]

export function readTaken([waitMs, waitingFor, ...permits]: TakeReply): Taken {
  return {
    permits,
    waitMs: waitMs < 0 ? Number.POSITIVE_INFINITY : waitMs,
    waitingFor: (waitingFor || null) as RefusedFor | null,
  }
}

export function toTakeAnswer({ permits, waitMs, waitingFor }: Taken): TakeAnswer {
  const isBreaker = waitingFor === 'breaker'
  const isOfTier = isBreaker || waitingFor === 'tier'
  return {
    permits,
    waitMs,
    waitingFor: isOfTier ? 'provider_pause' : waitingFor,
    never: waitMs === Number.POSITIVE_INFINITY,
    ...(isBreaker ? { othersMay: true } : {}),
    ...(isOfTier ? { otherTiersMay: true } : {}),
  }
}

/** Whole numbers keep the ledger's running sums exact. Throws `RangeError` for an amount that is negative or not finite. */
export function toAmounts(cost: Cost): Amounts {
  const amounts: Amounts = [cost.requests, cost.tokens, cost.inputTokens, cost.outputTokens]
  for (const amount of amounts) {
    if (!Number.isFinite(amount) || amount < 0) throw new RangeError(`not a cost: ${JSON.stringify(cost)}`)
  }
  return amounts.map(Math.ceil) as Amounts
}
