import type { TakeAnswer } from '../ratelimit/gate.ts'
import { type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'
import { PATIENCE_MS } from './outcome.ts'

/** A lane that is paused for longer gives its prefetched entries back, so that higher priorities go first afterwards. */
const HOLD_MS = 2000

/** While standard is shut for longer, the lane looks for jobs of other tiers, ms. */
const SHORT_MS = 250

/** A call that is bound to one source waits for it in hand no longer than this, ms; others may leave by other sources. */
const BOUND_HOLD_MS = 100

/**
 * What follows when the gate has answered. Data, so that one place decides and another acts:
 * - `all_granted`: every call left;
 * - `refuse`: the next call is larger than its lane can ever admit: its jobs fail;
 * - `put_off`: the next call alone leaves the hand, because its source keeps it and no other;
 * - `set_aside`: the entries of its tier of service wait, and the others go on;
 * - `wait`: the lane waits. `step` says what becomes of the entries in hand:
 *   - `make_way`: the breaker keeps the next call because of its tenant: others go first;
 *   - `give_back_spare`: those that were fetched for a faster lane go back;
 *   - `hold`: they stay;
 *   - `give_back`: they go back;
 *   - `move`: other lanes serve them, or they are delayed.
 */
export type AfterTake = (
  | { kind: 'all_granted' }
  | { kind: 'refuse' }
  | { kind: 'put_off' }
  | { kind: 'set_aside'; tier: ServiceTier }
  | {
      kind: 'wait'
      step: 'make_way' | 'give_back_spare' | 'hold' | 'give_back' | 'move'
      /** It is for standard alone that the gate is shut: entries of other tiers may leave. */
      isStandardAlone: boolean
    }
) & {
  /** What holds the next call back is shut for its tier alone, and that is not standard. */
  isOtherTier: boolean
  /** The entries have another lane that may serve them, and the wait is long enough for that. */
  mayMove: boolean
  /** The gate stays shut for so long that the time counts. */
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
  // The limit was lowered since the API let it in.
  if (answer.never) return { ...facts, kind: 'refuse' }
  // A call that has to wait for its source holds up no others, and says nothing of the other sources' tiers.
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
