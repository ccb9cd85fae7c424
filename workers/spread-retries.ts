import type { Outcome } from './outcome.ts'

/**
 * Puts the retries among these outcomes off by what the lane's budget for them says. Those that are due at the same
 * time travel together and are one retry. Asks only when there are any.
 *
 * @param book books so many retries, and answers for each by how many ms it has to be put off
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
