import type { ProviderAnswer } from '../providers/provider.ts'

/** The first pause after a 429 that names no wait, ms. */
const FLOOR_MS = 1000
/** The longest such pause, ms. */
const CAP_MS = 60_000

/** Fills in the wait of a 429 that names none, or names zero. */
export type ThrottlePause = (answer: ProviderAnswer) => ProviderAnswer

/**
 * The back-off of one lane. A 429 without a wait that comes after the previous pause doubles it, from a second to a
 * minute. A 429 during a pause belongs to a call that was under way already, and does not count. An answer resets the
 * back-off.
 *
 * @param now milliseconds of any clock that does not go back
 */
export function createThrottlePause(now: () => number): ThrottlePause {
  let pauseMs = 0
  let until = 0
  return (answer) => {
    if (answer.ok) {
      pauseMs = 0
      return answer
    }
    if (answer.class !== 'throttled' || (answer.feedback.retryAfterMs ?? 0) > 0) return answer
    const at = now()
    if (pauseMs === 0 || at >= until) {
      pauseMs = Math.min(CAP_MS, Math.max(FLOOR_MS, pauseMs * 2))
      until = at + pauseMs
    }
    return { ...answer, feedback: { ...answer.feedback, retryAfterMs: pauseMs } }
  }
}
