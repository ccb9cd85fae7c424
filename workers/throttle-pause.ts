import type { ProviderAnswer } from '../providers/provider.ts'

/** The first pause after a 429 that names no wait, ms. */
const FLOOR_MS = 1000
/** The longest, ms. */
const CAP_MS = 60_000

/** Fills in the wait that a 429 does not name, or names as zero. */
export type ThrottlePause = (answer: ProviderAnswer) => ProviderAnswer

/**
 * One lane's own back-off: each 429 without a wait that comes after the pause before doubles it, from a second to a
 * minute; those that come within it were on their way already, and do not. An answer ends it.
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
