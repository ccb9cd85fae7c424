import { type Attempt, isTerminal, type Job } from '../../jobs/job.ts'
import type { BilledCall } from '../../simulator/state.ts'

/** What is known of an accepted job when everything has ended. */
export type Evidence = {
  id: string
  hash: string
  /** Null: the service does not know it any more. */
  job: Pick<Job, 'status' | 'error' | 'result'> | null
  attempts: Pick<Attempt, 'started_at' | 'outcome' | 'ambiguous'>[]
}

export type Tally = {
  jobs: number
  /** L: accepted jobs without a terminal state, with their current state. */
  lost: Map<string, string>
  /** D by job: billed calls beyond one that are not flagged as ambiguous. */
  repeated: Map<string, number>
  /** Attempts flagged as ambiguous. */
  flagged: number
  /** Billed calls beyond one a job, flagged or not. */
  paidAgain: number
  /** Failed jobs by error code. */
  failed: Map<string, number>
  /** Completed jobs with an answer to another prompt. */
  mistaken: string[]
}

/** Compares the jobs' own records with the provider's bill. */
export function tallyUp(
  evidence: readonly Evidence[],
  billed: readonly Pick<BilledCall, 'prompt_hash'>[],
): Tally {
  const bill = new Map<string, number>()
  for (const { prompt_hash } of billed) bill.set(prompt_hash, (bill.get(prompt_hash) ?? 0) + 1)
  const tally: Tally = {
    jobs: evidence.length,
    lost: new Map(),
    repeated: new Map(),
    flagged: 0,
    paidAgain: 0,
    failed: new Map(),
    mistaken: [],
  }
  for (const { id, hash, job, attempts } of evidence) {
    const flags = attempts.filter((attempt) => attempt.ambiguous).length
    const extra = Math.max(0, (bill.get(hash) ?? 0) - 1)
    tally.flagged += flags
    tally.paidAgain += extra
    if (extra > flags) tally.repeated.set(id, extra - flags)
    if (job === null) tally.lost.set(id, 'unknown')
    else if (!isTerminal(job.status)) tally.lost.set(id, job.status)
    else if (job.status === 'failed') {
      const code = job.error?.code ?? 'unknown'
      tally.failed.set(code, (tally.failed.get(code) ?? 0) + 1)
    } else if (job.status === 'completed' && !answers(job.result, hash)) tally.mistaken.push(id)
  }
  return tally
}

/** The sum of several tallies, each of its own jobs. */
export function addTallies(tallies: readonly Tally[]): Tally {
  const sum = tallyUp([], [])
  for (const tally of tallies) {
    sum.jobs += tally.jobs
    sum.flagged += tally.flagged
    sum.paidAgain += tally.paidAgain
    sum.mistaken.push(...tally.mistaken)
    for (const [id, status] of tally.lost) sum.lost.set(id, status)
    for (const [id, count] of tally.repeated) sum.repeated.set(id, count)
    for (const [code, count] of tally.failed) sum.failed.set(code, (sum.failed.get(code) ?? 0) + count)
  }
  return sum
}

/** The simulator's answers begin with the hash of their prompt. A picture's result does not contain it. */
function answers(result: Job['result'], hash: string): boolean {
  const { choices, data } = (result ?? {}) as {
    choices?: { message?: { content?: string } }[]
    data?: unknown
  }
  if (Array.isArray(data)) return true
  return choices?.[0]?.message?.content?.startsWith(`Answer ${hash.slice(0, 8)}`) === true
}

/**
 * How long each call that was given up with its worker took to be made again, ms. That of a job lost twice is left out: it
 * may be what kills the workers, and waits for others of its kind (jobs/lua/start.lua).
 *
 * @param killedAt when workers were killed or frozen, Unix ms, in order and further apart than a call takes: so the first of
 *   them after a call's beginning is the one that ended it
 */
export function recoveries(evidence: readonly Evidence[], killedAt: readonly number[]): number[] {
  return evidence.flatMap(({ attempts }) => {
    // A call that came back after it was given up is flagged though it is complete.
    const first = attempts.findIndex(
      ({ outcome, ambiguous }) => outcome === 'lost' || (outcome === 'completed' && ambiguous),
    )
    const [lost, next] = [attempts[first], attempts[first + 1]]
    if (lost === undefined || next === undefined) return []
    const killed = killedAt.find((at) => at >= Date.parse(lost.started_at))
    return killed === undefined ? [] : [Date.parse(next.started_at) - killed]
  })
}

/** The smallest value that 99% do not exceed (nearest rank); null for no values. */
export function p99(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? null
}
