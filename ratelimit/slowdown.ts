/**
 * The effect of a 429: the lane runs at `slow` of its speed until `from`, then its speed rises linearly to full.
 * Levels refill over lived time (the integral of the speed), so the refill is exact however often it is computed.
 */
export type Slowdown = {
  slow: number
  /** Logical ms at which recovery begins. */
  from: number
  /** Logical ms of the last cut: 429s of calls that left before it are its echoes. */
  cutAt: number
}

const CUT = 0.7
const SLOWEST = 0.1
const RECOVERY_MS = 60_000

/** The share of its rate that the lane uses at `now`, (0, 1]. */
export function computeSpeed({ slow, from }: Slowdown, now: number): number {
  return Math.min(1, slow + ((1 - slow) * Math.max(0, now - from)) / RECOVERY_MS)
}

/** Milliseconds lived between `from` and `now`: the integral of the speed; negative before `from`. */
export function computeLived({ slow, from }: Slowdown, now: number): number {
  const since = now - from
  if (since <= 0) return slow * since
  if (since >= RECOVERY_MS) return since - ((1 - slow) * RECOVERY_MS) / 2
  return slow * since + ((1 - slow) * since * since) / (2 * RECOVERY_MS)
}

/** The inverse of `computeLived`: the logical ms at which that much lived time has passed. */
export function findLived({ slow, from }: Slowdown, lived: number): number {
  if (lived <= 0) return from + lived / slow
  if (lived >= ((1 + slow) * RECOVERY_MS) / 2) return from + lived + ((1 - slow) * RECOVERY_MS) / 2
  const growth = (1 - slow) / RECOVERY_MS
  // The form of the root without a subtraction: with tiny growth the difference would lose its digits.
  return from + (2 * lived) / (Math.sqrt(slow * slow + 2 * growth * lived) + slow)
}

/** A 429 at `now`, answered to a call that left at `takenAt`, pausing for `pauseMs`: one cut for each wave of them. */
export function slowDown(slowdown: Slowdown, takenAt: number, now: number, pauseMs: number): void {
  const speed = computeSpeed(slowdown, now)
  const fresh = takenAt > slowdown.cutAt
  slowdown.slow = fresh ? Math.max(SLOWEST, speed * CUT) : speed
  slowdown.from = now + pauseMs
  if (fresh) slowdown.cutAt = now
}

/** Spreads the end of a pause by up to a tenth, so that lanes paused together do not start together. */
export function addJitter(pauseMs: number, random: () => number): number {
  return Math.ceil(pauseMs + random() * Math.max(pauseMs * 0.1, 25))
}
