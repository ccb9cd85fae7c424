const JITTER = 0.1

/**
 * How long to wait before the next attempt, in ms, with ±10 % jitter so that webhooks that failed together do
 * not return together. Null when the schedule is exhausted.
 *
 * `schedule[n]` is the wait before attempt n + 1, so its first entry is the wait before the first attempt and
 * its length the number of attempts.
 */
export function nextDeliveryDelay(
  schedule: readonly number[],
  attemptsMade: number,
  random: () => number,
): number | null {
  const delay = schedule[attemptsMade]
  if (delay === undefined) return null
  return Math.round(delay * (1 - JITTER + 2 * JITTER * random()))
}
