import type { TakeAnswer } from '../ratelimit/gate.ts'
import { type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'
import { PATIENCE_MS } from './outcome.ts'

/**
 * A lane that is paused for longer than this gives its prefetched entries back, so that higher priorities go first
 * afterwards.
 */
const HOLD_MS = 2000

/** While the standard tier is shut for longer than this, the lane searches for jobs of other tiers, ms. */
const SHORT_MS = 250

/**
 * A call that is bound to one source waits for it in hand no longer than this, ms. Others may be sent by other sources.
 */
const BOUND_HOLD_MS = 100

/**
 * What follows the gate's answer. This is data, so that one place decides and another acts:
 * - `all_granted`: every call got a permit;
 * - `refuse`: the next call is larger than its lane can ever admit, and its jobs fail;
 * - `put_off`: only the next call leaves the hand, because only its source holds it back;
 * - `set_aside`: the entries of its tier of service wait, and the others go on;
 * - `wait`: the lane waits. `step` says what happens to the entries in hand:
 *    - `make_way`: the breaker holds the next call back because of its tenant, so others go first;
 *    - `give_back_spare`: those that were fetched for a faster lane go back to the queue;
 *    - `hold`: they stay;
 *    - `give_back`: they go back to the queue;
 *    - `move`: other lanes serve them, or they are delayed.
 */
export type AfterTake = (
  | { kind: 'all_granted' }
  | { kind: 'refuse' }
  | { kind: 'put_off' }
  | { kind: 'set_aside'; tier: ServiceTier }
  | {
      kind: 'wait'
      step: 'make_way' | 'give_back_spare' | 'hold' | 'give_back' | 'move'
      /** The gate is shut for the standard tier only: entries of other tiers may go. */
      isStandardAlone: boolean
    }
) & {
  /** The next call is held back because its own tier is shut, and that tier is not standard. */
  isOtherTier: boolean
  /** Another lane may serve the entries, and the wait is long enough to move them. */
  mayMove: boolean
  /** The gate stays shut for so long that the wait counts towards the fall back to standard. */
  isLong: boolean
}

/**
 * @param next the first call that got no permit; null: all got theirs
 * @param hasSuccessors whether this lane has a successor in any route
 */
export function decideAfterTake(
  answer: TakeAnswer,
  next: { isBound: boolean; tier: ServiceTier } | null,
  hasSuccessors: () => boolean,
): AfterTake {
  const { waitMs, waitingFor } = answer
  const facts = {
    isOtherTier: next !== null && next.tier !== STANDARD && answer.otherTiersMay === true,
    mayMove: next !== null && waitMs > PATIENCE_MS && hasSuccessors(),
    isLong: waitMs > HOLD_MS,
  }
  if (next === null) return { ...facts, kind: 'all_granted' }
  // The limit was lowered after the API had accepted the job.
  if (answer.never) return { ...facts, kind: 'refuse' }
  // A call that has to wait for its source delays no others, and says nothing about the tiers of the other sources.
  if (next.isBound && waitMs > BOUND_HOLD_MS) return { ...facts, kind: 'put_off' }
  if (facts.isOtherTier) return { ...facts, kind: 'set_aside', tier: next.tier }
  const othersMay = answer.othersMay === true
  const isStandardAlone = answer.otherTiersMay === true && !othersMay && !facts.mayMove && waitMs > SHORT_MS
  const wait = { ...facts, kind: 'wait', isStandardAlone } as const
  if (othersMay) return { ...wait, step: 'make_way' }
  if (waitingFor !== 'provider_pause') return { ...wait, step: 'give_back_spare' }
  if (!facts.isLong) return { ...wait, step: 'hold' }
  return { ...wait, step: facts.mayMove ? 'move' : 'give_back' }
}
