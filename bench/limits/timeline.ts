import type { SimulatorState, TimelineEntry } from '../../simulator/state.ts'
import { type Amount, type Limits, secondsOf } from './workload.ts'

/** Shares of a limit; `most` is the larger one: the limit that is used up first. */
export type Shares = { requests: number; tokens: number; most: number }

/** What was admitted between two states of an upstream. */
export function admittedBetween(before: SimulatorState, after: SimulatorState): Amount {
  return {
    requests: after.admitted_requests - before.admitted_requests,
    tokens: after.admitted_tokens - before.admitted_tokens,
  }
}

/** 429s between two states, for any of the limits. */
export function rejectedBetween(before: SimulatorState, after: SimulatorState): number {
  const count = ({ rejected }: SimulatorState) => rejected.requests + rejected.tokens + rejected.concurrency
  return count(after) - count(before)
}

/** The share of the limits that an amount is over so many seconds. */
export function sharesOf(amount: Amount, limits: Limits, seconds: number): Shares {
  const requests = secondsOf({ ...amount, tokens: 0 }, limits) / seconds
  const tokens = secondsOf({ ...amount, requests: 0 }, limits) / seconds
  return { requests, tokens, most: Math.max(requests, tokens) }
}

/** The share of the limits that was admitted in the whole seconds `from ≤ second < to`. */
export function sharesDuring(
  timeline: readonly TimelineEntry[],
  limits: Limits,
  from: number,
  to: number,
): Shares {
  const sum = { requests: 0, tokens: 0 }
  for (const { second, requests, tokens } of timeline) {
    if (second < from || second >= to) continue
    sum.requests += requests
    sum.tokens += tokens
  }
  return sharesOf(sum, limits, to - from)
}
