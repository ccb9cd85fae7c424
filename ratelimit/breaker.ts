/**
 * Keeps a lane from pouring calls into a provider that is down. Broken calls in a row open the breaker: nothing
 * leaves for a while. Then it is half-open and calls leave one at a time, as probes: one that is answered closes it,
 * a broken one opens it again, for longer. Only calls that left after the last of these changes are heard: those
 * that left before say how the provider was, not how it is.
 */
export type Breaker = {
  /** Broken calls in a row. Once they are `TRIP` the breaker is not closed until a call is answered. */
  failures: number
  /** Logical ms of the last opening or closing. */
  changedAt: number
  /** Logical ms at which probes may go; 0 while closed. */
  openUntil: number
  /** Permit of the last probe. */
  probe: string | null
}

/** How a call ended for the breaker: `broken` is a 5xx, a time-out or a connection failure; null says nothing. */
export type CallOutcome = 'ok' | 'broken' | null

export type BreakerState = 'closed' | 'open' | 'half_open'

/** Why the lane is paused while its breaker is open. */
export const BREAKER_OPEN = 'breaker_open'

/** So many broken calls in a row open it. */
const TRIP = 5
/** How long it is open at first; twice as long after each broken probe, up to the longest. */
const OPEN_MS = 15_000
const LONGEST_MS = 120_000

export function createBreaker(): Breaker {
  return { failures: 0, changedAt: -1, openUntil: 0, probe: null }
}

export function findBreakerState({ failures, openUntil }: Breaker, now: number): BreakerState {
  if (failures < TRIP) return 'closed'
  return now < openUntil ? 'open' : 'half_open'
}

/** Hears how a call ended that left at `takenAt`. True when that opened the breaker. */
export function judge(breaker: Breaker, outcome: CallOutcome, takenAt: number, now: number): boolean {
  if (outcome === null || takenAt <= breaker.changedAt) return false
  if (outcome === 'ok') {
    if (breaker.failures >= TRIP) closeBreaker(breaker, now)
    else breaker.failures = 0
    return false
  }
  breaker.failures++
  if (breaker.failures < TRIP) return false
  breaker.changedAt = now
  breaker.openUntil = now + Math.min(LONGEST_MS, OPEN_MS * 2 ** (breaker.failures - TRIP))
  breaker.probe = null
  return true
}

/** Closes it and forgets everything, also how long it was to be open next time. */
export function closeBreaker(breaker: Breaker, now: number): void {
  breaker.failures = 0
  breaker.changedAt = now
  breaker.openUntil = 0
  breaker.probe = null
}
