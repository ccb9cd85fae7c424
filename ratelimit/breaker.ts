/**
 * Stops a lane from sending calls to a provider that is down, and tells that apart from prompts that fail by themselves.
 * Broken calls in a row with several prompts open the breaker: calls of their tenants wait. Then it is half-open for them
 * and they leave one at a time, as probes: an answered probe closes the breaker, a broken one opens it again, for longer.
 * Other tenants never wait for that: a call of each may leave as a trial, one shortly after another. An answered trial
 * closes the breaker, a broken one makes its tenant wait with the others. So a provider that is down gets a call now and
 * then, and one that only breaks some tenant's prompts keeps serving everybody else. If another tenant's answer refutes
 * a tenant's broken calls, the breaker ignores that tenant for a while.
 * It also ignores calls that left before it opened or closed: they say how the provider was, not how it is.
 */
export type Breaker = {
  /** Broken calls in a row. */
  failures: number
  /** The last of them, oldest first. */
  broken: Evidence[]
  /** How often in a row it opened; 0 while it is closed. */
  openings: number
  /** Logical ms of the first of these openings, or of the last closing. */
  changedAt: number
  /** Logical ms at which probes may go; 0 while closed. */
  openUntil: number
  /** Permit of the last probe. */
  probe: string | null
  /** While it is not closed: the tenants whose calls it holds back, oldest first. */
  tenants: string[]
  /** Calls of other tenants that left while it was not closed. */
  trials: Trial[]
  /** Logical ms at which the next of them may leave. */
  trialAt: number
  /** Tenants whose broken calls are ignored: while these kept the breaker open, another tenant's call was answered. */
  refuted: string[]
  /** Logical ms until which they are ignored. */
  refutedUntil: number
}

/** The source of a call. A call that several tenants share has no tenant: `''`. */
export type CallSource = {
  tenant: string
  /** Equal for equal prompts of a tenant; `''`: unlike any other. */
  prompt: string
  job: string
}
export type Evidence = CallSource
type Trial = { tenant: string; permit: string }

/** How a call ended for the breaker: `broken` is a 5xx, a time-out or a connection failure; null says nothing. */
export type CallOutcome = 'ok' | 'broken' | null

export type BreakerState = 'closed' | 'open' | 'half_open'

/** Why the lane is paused while its breaker is open. */
export const BREAKER_OPEN = 'breaker_open'

/** So many different prompts broken in a row open it; for equal prompts, so many jobs within `MOST_BROKEN` calls. */
const TRIP = 5
/** Broken calls that are remembered. */
const MOST_BROKEN = 10
/** How long it is open at first; twice as long after each broken probe, up to the longest. */
const OPEN_MS = 15_000
const LONGEST_MS = 30_000
/** How long a tenant's broken calls are ignored after another tenant's call was answered meanwhile. */
const REFUTED_MS = 15_000
/** Between two trials, ms, and how much each waiting tenant adds to it. */
const TRIAL_MS = 100
const TRIAL_GROWTH_MS = 20
const LONGEST_TRIAL_MS = 1000
/** Tenants that wait, and trials that are remembered; older ones are forgotten. */
const MOST_TENANTS = 64

export function createBreaker(): Breaker {
  return {
    failures: 0,
    broken: [],
    openings: 0,
    changedAt: -1,
    openUntil: 0,
    probe: null,
    tenants: [],
    trials: [],
    trialAt: 0,
    refuted: [],
    refutedUntil: 0,
  }
}

export function findBreakerState({ openings, openUntil }: Breaker, now: number): BreakerState {
  if (openings === 0) return 'closed'
  return now < openUntil ? 'open' : 'half_open'
}

/** Hears how a call ended. `takenAt`: logical ms at which it left. */
export function judge(
  breaker: Breaker,
  { outcome, takenAt, source }: { outcome: CallOutcome; takenAt: number; source: CallSource },
  now: number,
): void {
  if (outcome === null || takenAt <= breaker.changedAt) return
  if (outcome === 'ok') {
    if (breaker.openings > 0) {
      const held = breaker.tenants
      closeBreaker(breaker, now)
      if (!held.includes(source.tenant))
        Object.assign(breaker, { refuted: held, refutedUntil: now + REFUTED_MS })
    }
    breaker.failures = 0
    breaker.broken = []
    return
  }
  if (breaker.openings === 0 && now < breaker.refutedUntil && breaker.refuted.includes(source.tenant)) return
  breaker.failures++
  breaker.broken = [...breaker.broken, source].slice(-MOST_BROKEN)
  if (breaker.openings === 0) {
    if (!isProviderDown(breaker.broken)) return
    breaker.changedAt = now
    breaker.tenants = [...new Set(breaker.broken.map((one) => one.tenant))]
    breaker.trialAt = now
  } else if (!breaker.tenants.includes(source.tenant)) {
    breaker.tenants = [...breaker.tenants, source.tenant].slice(-MOST_TENANTS)
    return
  }
  breaker.openings++
  breaker.openUntil = now + Math.min(LONGEST_MS, OPEN_MS * 2 ** (breaker.openings - 1))
  breaker.probe = null
}

/** Repeated failures of one job, or one prompt, say nothing about the provider. */
function isProviderDown(broken: readonly Evidence[]): boolean {
  const prompts = countDistinct(broken, ({ tenant, prompt }) =>
    prompt === '' ? null : `${tenant} ${prompt}`,
  )
  if (prompts >= TRIP) return true
  const jobs = countDistinct(broken, ({ tenant, job }) => (job === '' ? null : `${tenant} ${job}`))
  return broken.length >= MOST_BROKEN && jobs >= TRIP
}

/** Each null is unlike any other. */
function countDistinct(broken: readonly Evidence[], keyOf: (one: Evidence) => string | null): number {
  return new Set(broken.map((one, index) => keyOf(one) ?? index)).size
}

/** A call of this tenant leaves while the breaker is not closed. */
export function bookTrial(breaker: Breaker, { tenant, permit }: Trial, now: number): void {
  if (breaker.tenants.includes(tenant)) {
    breaker.probe = permit
    return
  }
  const others = breaker.trials.filter((trial) => trial.tenant !== tenant)
  breaker.trials = [...others, { tenant, permit }].slice(-MOST_TENANTS)
  breaker.trialAt = now + Math.min(LONGEST_TRIAL_MS, TRIAL_MS + TRIAL_GROWTH_MS * breaker.tenants.length)
}

/** Closes it and forgets everything, also how long it was to be open next time. */
export function closeBreaker(breaker: Breaker, now: number): void {
  Object.assign(breaker, { ...createBreaker(), changedAt: now })
}
