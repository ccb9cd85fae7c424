/**
 * The effect of 429s: the lane runs at `slow` of its speed until `from`, then its speed rises linearly to full over `recoveryMs`.
 * Levels refill over lived time (the integral of the speed), so the refill is exact however often it is computed.
 *
 * How far and how often the lane was over the limit lately decides how deep a cut is and how long it lasts. `heat` measures that: each 429
 * of a wave adds one, and `heat` fades with the time since the wave before, to a half in half a minute. One stray 429 costs a quarter of
 * a second beyond its pause. A wave of three cuts three tenths, for most of a minute.
 */
export type Slowdown = {
  slow: number
  /** Logical ms at which recovery begins. */
  from: number
  /** Logical ms of the first 429 of the last wave. 429s to calls that left before it belong to the same wave. */
  cutAt: number
  heat: number
  /** The speed at the first 429 of the wave. The cut of the wave counts from it. */
  before: number
  recoveryMs: number
}

const STEP = 0.1
const MOST_STEPS = 3
const SLOWEST = 0.1
const SHORTEST_MS = 5_000
const LONGEST_MS = 60_000
const FADES_MS = 30_000
const HOTTEST = 10

export function createSlowdown(): Slowdown {
  return { slow: 1, from: 0, cutAt: -1, heat: 0, before: 1, recoveryMs: LONGEST_MS }
}

/** The share of its rate that the lane uses at `now`, (0, 1]. */
export function computeSpeed({ slow, from, recoveryMs }: Slowdown, now: number): number {
  return Math.min(1, slow + ((1 - slow) * Math.max(0, now - from)) / recoveryMs)
}

/** Lived milliseconds between `from` and `now`: the integral of the speed; negative before `from`. */
export function computeLived({ slow, from, recoveryMs }: Slowdown, now: number): number {
  const since = now - from
  if (since <= 0) return slow * since
  if (since >= recoveryMs) return since - ((1 - slow) * recoveryMs) / 2
  return slow * since + ((1 - slow) * since * since) / (2 * recoveryMs)
}

/** The inverse of `computeLived`: the logical ms at which that much lived time has passed. */
export function findLived({ slow, from, recoveryMs }: Slowdown, lived: number): number {
  if (lived <= 0) return from + lived / slow
  if (lived >= ((1 + slow) * recoveryMs) / 2) return from + lived + ((1 - slow) * recoveryMs) / 2
  const growth = (1 - slow) / recoveryMs
  // The form of the root without a subtraction: with tiny growth the difference would lose its digits.
  return from + (2 * lived) / (Math.sqrt(slow * slow + 2 * growth * lived) + slow)
}

/** Books a 429 at `now`. `takenAt`: when its call left; `pauseMs`: how long the lane pauses for it. */
export function slowDown(
  slowdown: Slowdown,
  { takenAt, pauseMs }: { takenAt: number; pauseMs: number },
  now: number,
): void {
  const speed = computeSpeed(slowdown, now)
  if (takenAt > slowdown.cutAt) {
    slowdown.heat = (slowdown.heat * FADES_MS) / (FADES_MS + now - slowdown.cutAt)
    slowdown.before = speed
    slowdown.cutAt = now
  }
  slowdown.heat = Math.min(HOTTEST, slowdown.heat + 1)
  const steps = Math.min(MOST_STEPS, slowdown.heat)
  slowdown.slow = Math.min(speed, Math.max(SLOWEST, slowdown.before * (1 - STEP * steps)))
  const share = Math.min(1, (slowdown.heat - 1) / MOST_STEPS)
  slowdown.recoveryMs = SHORTEST_MS + (LONGEST_MS - SHORTEST_MS) * share
  slowdown.from = now + pauseMs
}

/** Spreads the end of a pause by up to a tenth, so that lanes paused together do not start together. */
export function addJitter(pauseMs: number, random: () => number): number {
  return Math.ceil(pauseMs + random() * Math.max(pauseMs * 0.1, 25))
}
