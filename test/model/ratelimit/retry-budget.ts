/**
 * Keeps retries to a fifth of a lane's traffic, so that a provider that stumbles is not pushed over by them. Every
 * request taken earns a share of a retry, and time earns some, so that a quiet lane is not stuck; up to `CAP` are
 * saved. A retry that finds none is promised what time will earn next: promises stand one behind the other, and
 * what is promised is never earned twice. So whatever the stretch of time,
 * retries ≤ SHARE · requests + CAP + 1 + TRICKLE · ms, unless waits reach `LONGEST_MS`.
 *
 * What a tenant's failing jobs have booked does not put off another's: where its own promises, a step apart for each
 * tenant that has some, come before the next of all, a retry has one of those. For k such tenants time earns
 * 1 + 1/2 + … + 1/k times as much.
 */
export type RetryBudget = {
  /** Retries that may go at once, 0 to `CAP`. */
  saved: number
  /** Requests taken until the last look. */
  seen: number
  /** Logical ms until which the time earnings are saved or promised. */
  promisedUntil: number
  /** Tenants that were promised retries, and the logical ms of their last one. */
  chains: { tenant: string; until: number }[]
}

const CAP = 10
const SHARE = 0.2
/** Retries that a millisecond earns: one every two seconds. */
const TRICKLE = 0.0005
/** Tenants whose promises are tracked separately. */
const MOST_CHAINS = 64
/** The most that a retry is put off, ms. Beyond it they go together: a longer delay would be of no use. */
const LONGEST_MS = 600_000

export function createRetryBudget(now: number): RetryBudget {
  return { saved: CAP, seen: 0, promisedUntil: now, chains: [] }
}

/**
 * Books retries that are about to be scheduled. Answers by how many ms each has to be put off.
 *
 * @param retries `taken`: all requests that the lane has taken; `tenant`: the tenant of the retries
 */
export function bookRetries(
  budget: RetryBudget,
  { taken, count, tenant }: { taken: number; count: number; tenant: string },
  now: number,
): number[] {
  budget.saved += SHARE * (taken - budget.seen)
  budget.seen = taken
  if (now > budget.promisedUntil) {
    budget.saved += TRICKLE * (now - budget.promisedUntil)
    budget.promisedUntil = now
  }
  budget.saved = Math.min(CAP, budget.saved)
  budget.chains = budget.chains.filter(({ until }) => until > now)
  const waits: number[] = []
  for (let i = 0; i < count; i++) {
    if (budget.saved >= 1) {
      budget.saved--
      waits.push(0)
      continue
    }
    const promised = budget.promisedUntil + (1 - budget.saved) / TRICKLE
    let chain = budget.chains.find((one) => one.tenant === tenant)
    if (chain === undefined) {
      chain = { tenant, until: now }
      budget.chains = [...budget.chains, chain].slice(-MOST_CHAINS)
    }
    const own = chain.until + budget.chains.length / TRICKLE
    if (budget.chains.length > 1 && own < promised) {
      chain.until = Math.min(own, now + LONGEST_MS)
      waits.push(Math.ceil(chain.until - now))
      continue
    }
    budget.promisedUntil = Math.min(promised, now + LONGEST_MS)
    budget.saved = 0
    chain.until = budget.promisedUntil
    waits.push(Math.ceil(budget.promisedUntil - now))
  }
  return waits
}
