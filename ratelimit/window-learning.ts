import type { LaneLimits } from '../config/lanes.ts'

/**
 * What the lane knows of how its provider counts, where `window` is `auto`. A lane begins at the first step, which the
 * strictest provider bears. Where the window's guard keeps holding calls back and no 429 comes, it tries the next
 * step. A 429 to a step that is not proven takes it back, and the next try comes later each time.
 */
export type WindowLearning = {
  /** Index in `STEPS`. */
  step: number
  /** Logical ms at which this step began. */
  since: number
  /** How often the guard has held calls back on this step. */
  held: number
  /** Tries that ended in a 429, in a row. */
  failures: number
  /** Logical ms before which no wider step is tried. */
  retryAt: number
  /** Logical ms at which the pause of the last wave of 429s ends. */
  strayAt: number
  /** By how much more than the first step allows for calls overtake each other, ms, as 429s taught, and when (logical ms). */
  lateMs: number
  lateAt: number
  /** Logical ms of the last 429 that taught something. Those of calls that left before it teach nothing more. */
  lessonAt: number
  /** Whether `remaining` of requests and of tokens is that of a minute: it was once more than a shorter window holds. */
  tellsMinute: [requests: boolean, tokens: boolean]
}

/** How the gate paces: the window of its guard; what a level may hold; the allowance for calls that overtake each other. All ms. */
export type Pacing = { window: number; burst: number; saved: number; jitter: number }

/** Windows of a second; of ten, or a bucket of a second; of a minute. */
export const STEPS: readonly Pacing[] = [
  { window: 1000, burst: 1000, saved: 2000, jitter: 25 },
  { window: 10_000, burst: 200, saved: 400, jitter: 50 },
  { window: 60_000, burst: 200, saved: 400, jitter: 50 },
]
/** A step is tried for so long, and has held calls back so often, before the next one is. */
const TRIED_MS = [5000, 30_000]
const TRIED_HELD = 20
const LARGE = 0.1
/** A step that went so long without a 429 is proven. A proven one is left after two 429s within this time. */
const PROVEN_MS = 60_000
/** A try that failed is repeated after ten minutes, after every further one twice as late, at most a day. */
const RETRY_MS = 600_000
const LONGEST_RETRY_MS = 86_400_000
/** What is learned of a lane that nobody uses for so long is forgotten. */
const FORGET_MS = 86_400_000

/** For so long after a step has begun, ms, nothing is saved up; at the first step calls are taken to be later than they will be. */
const NEW_MS = 5000
const NEW_JITTER_MS = 100
/** What a 429 at the first step adds to the lateness of calls, the most that it comes to, and after how long without one it is forgotten, ms. */
const LATE_MS = 15
const MOST_LATE_MS = 100
const LATE_FADES_MS = 600_000
/** A wave of 429s at the first step so soon after the pause of the one before, ms: the provider has less than it says. */
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
    // left before it until it has seen a whole one.
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
 * The guard holds a call back at `now`: perhaps the next step is due. From ten seconds on it is only where calls are large
 * for the window: small ones fill it.
 *
 * @param share the call's of the window's capacity
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
 * A 429 of a new wave at `now`. True when it says how the provider counts, or how late calls come, not that the provider has less: a
 * wider step goes back, and the first one takes calls to be later than it did, as far as they can be. No call leaves during a pause, so
 * the next wave is as far from this one as it is from the pause's end.
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

/** A call that left before the last lesson is of its wave: a 429 to it says nothing new. */
export function isOfLesson(learning: WindowLearning, takenAt: number): boolean {
  return takenAt <= learning.lessonAt
}

function findLateness({ lateMs, lateAt }: WindowLearning, now: number): number {
  return lateMs * Math.max(0, 1 - (now - lateAt) / LATE_FADES_MS)
}

/** Whether what the provider says `remains` of this limit a minute is of use to the next call. */
export function believeRemaining(
  learning: WindowLearning,
  { dimension, remaining, limit }: { dimension: 0 | 1; remaining: number; limit: number },
): boolean {
  if (remaining > limit / 5) learning.tellsMinute[dimension] = true
  return learning.tellsMinute[dimension]
}

/** What stands of it at `now`, where the lane was last used at `last`: too long ago, and learning begins again. */
export function keepLearning(learning: WindowLearning | null, last: number, now: number): WindowLearning {
  return learning === null || now - last > FORGET_MS ? createWindowLearning(now) : learning
}

function moveTo(learning: WindowLearning, step: number, now: number): void {
  learning.step = step
  learning.since = now
  learning.held = 0
}
