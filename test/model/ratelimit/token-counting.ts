import type { TokenCounting } from '../../../ratelimit/lane-state.ts'

/**
 * What a lane knows about how its provider counts tokens, if the kind does not say it: the estimate of a call is
 * kept, or refunded to what the call used. It starts with the estimate. What remains at the provider is at least what
 * a strict minute of used tokens leaves, however it enforces; a lower value refutes that it counts what is used. If
 * nothing refuted it for a minute, that is tried. Once refuted, the refunds of the last minute's calls are taken
 * back.
 */
export type CountingState = {
  mode: TokenCounting
  since: number
  /** Number of the newest slot, and the tokens of the last minute by slot: used by calls that ended, estimated for others. */
  slot: number
  slots: number[]
  sum: number
  deniedAt: number
  /** Share of the estimate that recent calls did not use. */
  excess: number
  /** Tokens refunded to calls of the last minute if used tokens count, by the slots that they were taken in. */
  refunds: number[]
  failures: number
  retryAt: number
}

const SLOT_MS = 5000
const SLOTS = 13
const SLACK = 20
const WORTH = 0.05
const MOST_EXCESS = 0.99
const PROVEN_MS = 60_000
const RETRY_MS = 600_000
const LONGEST_RETRY_MS = 86_400_000

export function createCounting(now: number): CountingState {
  return {
    mode: 'estimate',
    since: now,
    slot: Math.floor(now / SLOT_MS),
    slots: Array<number>(SLOTS).fill(0),
    sum: 0,
    deniedAt: -60_000,
    excess: 0,
    refunds: Array<number>(SLOTS).fill(0),
    failures: 0,
    retryAt: now + 10_000,
  }
}

function roll(counting: CountingState, now: number): void {
  const slot = Math.floor(now / SLOT_MS)
  for (let number = Math.max(counting.slot, slot - SLOTS) + 1; number <= slot; number++) {
    const at = number % SLOTS
    counting.sum -= counting.slots[at]!
    counting.slots[at] = 0
    counting.refunds[at] = 0
  }
  counting.slot = Math.max(slot, counting.slot)
}

/** A call was taken; answers the tokens of the minute. */
export function countTaken(counting: CountingState, tokens: number, now: number): number {
  roll(counting, now)
  counting.slots[counting.slot % SLOTS]! += tokens
  counting.sum += tokens
  return counting.sum
}

/**
 * What the level gives for a call if used tokens count, because a level takes back no more than its burst at a time;
 * null: its estimate.
 */
export function findPaced({ mode, excess }: CountingState, estimate: number): number | null {
  return mode === 'estimate' ? null : estimate * (1 - Math.max(0, Math.min(MOST_EXCESS, excess)))
}

/** A call that was taken at `takenAt` ended. */
export function countUsed(
  counting: CountingState,
  call: { takenAt: number; estimate: number; used: number; minute: number | null },
  now: number,
): void {
  roll(counting, now)
  const back = call.estimate - call.used
  const slot = Math.floor(call.takenAt / SLOT_MS)
  if (call.minute !== null && slot > counting.slot - SLOTS) {
    counting.slots[slot % SLOTS]! -= back
    counting.sum -= back
  }
  counting.excess += (back / Math.max(1, call.estimate) - counting.excess) / 10
}

/** A call that was taken at `takenAt` got a refund of so many tokens, because used tokens count. */
export function noteRefund(counting: CountingState, takenAt: number, tokens: number): void {
  const slot = Math.floor(takenAt / SLOT_MS)
  if (slot > counting.slot - SLOTS) counting.refunds[slot % SLOTS]! += tokens
}

/** The provider reported what remained when a call had been admitted. Answers the tokens to take back. */
export function decideCounting(
  counting: CountingState,
  heard: { takenAt: number; estimate: number; minute: number; remaining: number; limit: number },
  now: number,
): number {
  const { remaining, limit, ...call } = heard
  if (remaining < limit - call.minute - limit / SLACK - call.estimate) {
    counting.deniedAt = now
    if (counting.mode === 'estimate' || call.takenAt < counting.since) return 0
    const refunded = counting.refunds.reduce((sum, tokens) => sum + tokens, 0)
    const back = Math.min(refunded, limit)
    Object.assign(counting, { mode: 'estimate', since: now })
    counting.retryAt = now + Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** counting.failures)
    counting.failures++
    return back
  }
  if (counting.mode === 'estimate') {
    const isDue = now >= counting.retryAt && now - counting.deniedAt >= PROVEN_MS
    if (isDue && counting.excess > WORTH && remaining > limit / 4)
      Object.assign(counting, { mode: 'trying', since: now })
  } else if (counting.mode === 'trying' && now - counting.since >= PROVEN_MS) {
    Object.assign(counting, { mode: 'used', failures: 0 })
  }
  return 0
}
