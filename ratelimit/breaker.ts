/**
 * Stops a lane from sending calls to a provider that is down, and tells this case apart from prompts that fail by themselves.
 * Several broken calls in a row, with different prompts, open the breaker: calls of their tenants wait. After a while the breaker is
 * half-open for them, and their calls leave one at a time, as probes. An answered probe closes the breaker. A broken probe opens it
 * again, for longer. Other tenants do not wait for that: a call of each may leave as a trial, one shortly after another. An answered
 * trial closes the breaker. A broken trial makes its tenant wait with the others. So a provider that is down gets few calls, and a
 * provider that only breaks the prompts of one tenant continues to serve all others. If another tenant's answer refutes the broken
 * calls of a tenant, the breaker ignores this tenant for a while.
 * The breaker also ignores calls that left before it opened or closed: they tell how the provider was, not how it is.
 */
export type Breaker = {
  /** Broken calls in a row. */
  failures: number
  /** The last of them, oldest first. */
  broken: Evidence[]
  /** How often the breaker opened since it was last closed; 0 while it is closed. */
  openings: number
  /** Logical ms of the first of these openings, or of the last closing. */
  changedAt: number
  /** Logical ms at which probes may go; 0 while closed. */
  openUntil: number
  /** Permit of the last probe. */
  probe: string | null
  /** While the breaker is not closed: the tenants whose calls it holds back, oldest first. */
  tenants: string[]
  /** Calls of other tenants that left while the breaker was not closed. */
  trials: Trial[]
  /** Logical ms at which the next trial may leave. */
  trialAt: number
  /** Tenants whose broken calls the breaker ignores: while they kept it open, another tenant's call was answered. */
  refuted: string[]
  /** Logical ms until which it ignores them. */
  refutedUntil: number
}

/** The source of a call. A call that several tenants share has no tenant: `''`. */
export type CallSource = {
  tenant: string
  /** Equal for equal prompts of a tenant; `''` differs from everything. */
  prompt: string
  job: string
}
export type Evidence = CallSource
type Trial = { tenant: string; permit: string }

/** How a call ended, for the breaker: `broken` is a 5xx, a time-out or a connection failure; null tells nothing. */
export type CallOutcome = 'ok' | 'broken' | null

export type BreakerState = 'closed' | 'open' | 'half_open'

/** Why the lane is paused while its breaker is open. */
export const BREAKER_OPEN = 'breaker_open'

/** This many different prompts that break in a row open the breaker; of equal prompts, this many jobs within `MOST_BROKEN` calls. */
const TRIP = 5
/** Most broken calls that the breaker remembers. */
const MOST_BROKEN = 10
/** How long the breaker is open at first, ms; twice as long after each broken probe, up to the longest. */
const OPEN_MS = 15_000
const LONGEST_MS = 30_000
/** How long the breaker ignores a tenant's broken calls after another tenant's call was answered meanwhile, ms. */
const REFUTED_MS = 15_000
/** The time between two trials, ms, and how much each waiting tenant adds to it. */
const TRIAL_MS = 100
const TRIAL_GROWTH_MS = 20
const LONGEST_TRIAL_MS = 1000
/** Most waiting tenants and most trials that the breaker remembers. */
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

/** Repeated failures of one job or of one prompt tell nothing about the provider. */
function isProviderDown(broken: readonly Evidence[]): boolean {
  const prompts = countDistinct(broken, ({ tenant, prompt }) =>
    prompt === '' ? null : `${tenant} ${prompt}`,
  )
  if (prompts >= TRIP) return true
  const jobs = countDistinct(broken, ({ tenant, job }) => (job === '' ? null : `${tenant} ${job}`))
  return broken.length >= MOST_BROKEN && jobs >= TRIP
}

/** Each null counts as different. */
function countDistinct(broken: readonly Evidence[], keyOf: (one: Evidence) => string | null): number {
  return new Set(broken.map((one, index) => keyOf(one) ?? index)).size
}

/** Books a call of a tenant that leaves while the breaker is not closed. */
export function bookTrial(breaker: Breaker, { tenant, permit }: Trial, now: number): void {
  if (breaker.tenants.includes(tenant)) {
    breaker.probe = permit
    return
  }
  const others = breaker.trials.filter((trial) => trial.tenant !== tenant)
  breaker.trials = [...others, { tenant, permit }].slice(-MOST_TENANTS)
  breaker.trialAt = now + Math.min(LONGEST_TRIAL_MS, TRIAL_MS + TRIAL_GROWTH_MS * breaker.tenants.length)
}

/** Closes the breaker and resets everything, also how long it would be open next time. */
export function closeBreaker(breaker: Breaker, now: number): void {
  Object.assign(breaker, { ...createBreaker(), changedAt: now })
}
