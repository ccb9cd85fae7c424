const JITTER = 0.1

/**
 * How long to wait before the next attempt, ms. ±10 % jitter keeps webhooks that failed together from returning together. Null when the
 * schedule is exhausted.
 *
 * `schedule[n]` is the wait before attempt n + 1: its first entry is the wait before the first attempt, and its length is the number of
 * attempts.
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
