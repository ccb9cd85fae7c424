/** A receiver may always ask for an hour, even if the schedule's steps are shorter. */
const MIN_BOUND_MS = 60 * 60_000

/**
 * Reads `Retry-After` (RFC 9110 §10.2.3): seconds, also with a fraction, or an HTTP date. Null where it is absent or unreadable.
 *
 * @param now Unix ms
 * @returns ms from now, never negative
 */
export function readRetryAfter(value: string | string[] | undefined, now: number): number | null {
  const text = (Array.isArray(value) ? value[0] : value)?.trim()
  if (text === undefined) return null
  if (/^\d+(?:\.\d+)?$/.test(text)) return clampWait(Number(text) * 1000)
  // Date.parse accepts nearly anything. An HTTP date always names its zone as GMT.
  return text.endsWith('GMT') ? clampWait(Date.parse(text) - now) : null
}

/**
 * How long to wait before the next attempt when the receiver named a time: at least what it asked for, but at most the longest step of the
 * schedule or an hour, whichever is longer. Up to 10 % is added, so that webhooks that failed together do not return together.
 *
 * @param delayMs wait by the schedule
 */
export function applyRetryAfter(
  delayMs: number,
  retryAfterMs: number | null,
  schedule: readonly number[],
  random: () => number,
): number {
  if (retryAfterMs === null) return delayMs
  const asked = Math.min(retryAfterMs, Math.max(MIN_BOUND_MS, ...schedule))
  return Math.max(delayMs, Math.round(asked * (1 + 0.1 * random())))
}

function clampWait(ms: number): number | null {
  return Number.isFinite(ms) ? Math.min(Math.max(0, Math.ceil(ms)), Number.MAX_SAFE_INTEGER) : null
}
