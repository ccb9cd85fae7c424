import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { HeldEntries } from './held-entries.ts'

/** A queue that returns each entry the way it came, and releases entries that need no lease any more. */
export function trackHeld(
  queue: LaneQueue,
  directDispatch: DirectDispatch,
  { hold, drop }: Pick<HeldEntries, 'hold' | 'drop'>,
  onDelay: () => void,
): LaneQueue {
  const wayOf = (one: Held) => (one.placed ? directDispatch : queue)
  const leave = async (one: Held, operation: Promise<void>) => {
    await operation
    drop(one)
  }
  return {
    ...queue,
    // The place must hold the entry before its lock is released.
    claimed(one) {
      const placed = wayOf(one).claimed(one)
      hold(placed)
      drop(one)
      return placed
    },
    acknowledge: (one) => leave(one, wayOf(one).acknowledge(one)),
    delay: (one, at, mark) => leave(one, wayOf(one).delay(one, at, mark)).then(onDelay),
    giveBack: (one) => leave(one, wayOf(one).giveBack(one)),
  }
}
