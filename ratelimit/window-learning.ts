import type { LaneLimits } from '../config/lanes.ts'

/**
 * What the lane knows about how its provider counts, if `window` is `auto`. A lane begins at the first step, which suits the
 * strictest provider. If the window's guard often holds calls back and no 429 arrives, the lane tries the next step. A 429 at a step that
 * is not proven takes the lane back, and each next try comes later.
 */
export type WindowLearning = {
  /** Index in `STEPS`. */
  step: number
  /** Logical ms at which this step began. */
  since: number
  /** How often the guard has held calls back at this step. */
  held: number
  /** Tries that ended in a 429, in a row. */
  failures: number
  /** Logical ms before which no wider step is tried. */
  retryAt: number
  /** Logical ms at which the pause of the last wave of 429s ends. */
  strayAt: number
  /** By how much calls overtake each other beyond what the first step allows for, ms, as 429s taught; and when they taught it (logical ms). */
  lateMs: number
  lateAt: number
  /** Logical ms of the last 429 that taught something. 429s to calls that left before it teach nothing more. */
  lessonAt: number
  /** Whether the provider reports what remains of a minute, of requests and of tokens: a report was once more than a shorter window holds. */
  tellsMinute: [requests: boolean, tokens: boolean]
}

/** How the gate paces: the window of its guard; what a level may hold (`burst`, `saved`); by how much calls may overtake each other. All in ms. */
export type Pacing = { window: number; burst: number; saved: number; jitter: number }

/** For providers that count by the second; by ten seconds, or with a bucket of a second; by the minute. */
export const STEPS: readonly Pacing[] = [
  { window: 1000, burst: 1000, saved: 2000, jitter: 25 },
  { window: 10_000, burst: 200, saved: 400, jitter: 50 },
  { window: 60_000, burst: 200, saved: 400, jitter: 50 },
]
/** The lane stays at a step for this long, ms, and until it has held calls back this often, before it tries the next. */
const TRIED_MS = [5000, 30_000]
const TRIED_HELD = 20
const LARGE = 0.1
/** A step without a 429 for this long is proven, ms. The lane leaves a proven step after two 429s within this time. */
const PROVEN_MS = 60_000
/** The lane repeats a failed try after ten minutes, and after each further failure twice as late, at most after a day. */
const RETRY_MS = 600_000
const LONGEST_RETRY_MS = 86_400_000
/** A lane that is not used for this long loses what it learned, ms. */
const FORGET_MS = 86_400_000

/** For this long after a step has begun, ms, nothing is saved up. At the first step the lane then assumes that calls are this late, ms. */
const NEW_MS = 5000
const NEW_JITTER_MS = 100
/** What a 429 at the first step adds to the lateness of calls, the most lateness, and the time without a 429 in which it fades, ms. */
const LATE_MS = 15
const MOST_LATE_MS = 100
const LATE_FADES_MS = 600_000
/** A wave of 429s at the first step this soon after the pause of the wave before, ms: the provider has less room than it reports. */
const AGAIN_MS = 10_000

const BURST_MS = 100
const SAVED_MS = 1000
const JITTER_MS = 50

function createWindowLearning(now: number): WindowLearning {
  return {
    step: 0,
    since: now,
    held: 0,
    failures: 0,
    retryAt: now,
    strayAt: -FORGET_MS,
    lateMs: 0,
    lateAt: -FORGET_MS,
    lessonAt: -FORGET_MS,
    tellsMinute: [false, false],
  }
}

export function findPacing(
  learning: WindowLearning | null,
  { window, window_auto }: LaneLimits,
  now: number,
): Pacing {
  if (window_auto && learning) {
    const pacing = STEPS[learning.step]!
    const jitter = learning.step === 0 ? pacing.jitter + findLateness(learning, now) : pacing.jitter
    // At first nothing is saved up: workers that just started are late, and the guard of a wider window does not know what
    // left earlier until it has seen a whole window.
    if (now - learning.since >= Math.max(NEW_MS, learning.step === 0 ? 0 : pacing.window))
      return { ...pacing, jitter }
    return {
      window: pacing.window,
      ...{ burst: BURST_MS, saved: BURST_MS },
      jitter: learning.step === 0 ? Math.max(NEW_JITTER_MS, jitter) : jitter,
    }
  }
  const saved = Math.max(BURST_MS, Math.min(SAVED_MS, window / 10))
  return { window, burst: BURST_MS, saved, jitter: Math.min(JITTER_MS, window / 20) }
}

/**
 * The guard holds a call back at `now`: the next step may be due. From the window of ten seconds on, only large calls count for that,
 * because small ones fill the window.
 *
 * @param share the call's share of the window's capacity
 */
export function noteHeld(learning: WindowLearning, share: number, now: number): void {
  if (learning.step > 0 && share < LARGE) return
  learning.held++
  const next = learning.step + 1
  if (next >= STEPS.length || learning.held < TRIED_HELD || now < learning.retryAt) return
  if (now - learning.since < TRIED_MS[learning.step]!) return
  moveTo(learning, next, now)
}

/**
 * Books a 429 of a new wave at `now`. True if it tells how the provider counts, or how late calls arrive, and not that the provider has
 * less room. At a wider step, the lane goes back one step. At the first step, it assumes that calls are later than before, up to a bound.
 * No call leaves during a pause, so the distance to the next wave counts from the end of this pause.
 */
export function noteThrottled(learning: WindowLearning, now: number, pauseMs: number): boolean {
  const sinceLast = now - learning.strayAt
  learning.strayAt = now + pauseMs
  if (learning.step === 0) {
    if (sinceLast < AGAIN_MS) return false
    const lateMs = findLateness(learning, now) + LATE_MS
    learning.lateMs = Math.min(MOST_LATE_MS, lateMs)
    learning.lateAt = now
    if (lateMs > MOST_LATE_MS) return false
  } else {
    if (now - learning.since >= PROVEN_MS && sinceLast >= PROVEN_MS) return false
    moveTo(learning, learning.step - 1, now)
    learning.retryAt = now + Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** learning.failures)
    learning.failures++
  }
  learning.lessonAt = now
  return true
}

/** A call that left before the last lesson belongs to its wave: a 429 to it tells nothing new. */
export function isOfLesson(learning: WindowLearning, takenAt: number): boolean {
  return takenAt <= learning.lessonAt
}

function findLateness({ lateMs, lateAt }: WindowLearning, now: number): number {
  return lateMs * Math.max(0, 1 - (now - lateAt) / LATE_FADES_MS)
}

/** Whether what the provider reports as `remaining` of this limit per minute helps to pace the next call. */
export function believeRemaining(
  learning: WindowLearning,
  { dimension, remaining, limit }: { dimension: 0 | 1; remaining: number; limit: number },
): boolean {
  if (remaining > limit / 5) learning.tellsMinute[dimension] = true
  return learning.tellsMinute[dimension]
}

/** The learning that is still valid at `now`. If the lane was last used (`last`) too long ago, learning begins again. */
export function keepLearning(learning: WindowLearning | null, last: number, now: number): WindowLearning {
  return learning === null || now - last > FORGET_MS ? createWindowLearning(now) : learning
}

function moveTo(learning: WindowLearning, step: number, now: number): void {
  learning.step = step
  learning.since = now
  learning.held = 0
}
