import type { Outcome } from './outcome.ts'

/**
 * Delays the retries among these outcomes by the lane's retry budget. Retries that are due at the same time stay
 * together and count as one. It asks only if there are any.
 *
 * @param book books `count` retries, and returns the delay of each, ms
 */
export async function spreadRetries(
  outcomes: readonly Outcome[],
  book: (count: number) => Promise<number[]>,
): Promise<Outcome[]> {
  const times = [...new Set(outcomes.flatMap((outcome) => (outcome.kind === 'retry' ? [outcome.at] : [])))]
  if (times.length === 0) return [...outcomes]
  const waits = await book(times.length)
  return outcomes.map((outcome) =>
    outcome.kind === 'retry'
      ? { ...outcome, at: outcome.at + (waits[times.indexOf(outcome.at)] ?? 0) }
      : outcome,
  )
}
