import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { Held, LaneQueue } from '../jobs/queue.ts'

/** Sends each entry the way that it came, and lets go of those that need no holding any more. */
export function trackHeld(
  queue: LaneQueue,
  directDispatch: DirectDispatch,
  drop: (one: Held) => void,
  hold: (one: Held) => void,
  onDelay: () => void,
): LaneQueue {
  const wayOf = (one: Held) => (one.placed ? directDispatch : queue)
  const leave = async (one: Held, operation: Promise<void>) => {
    await operation
    drop(one)
  }
  return {
    ...queue,
    // Held by its place before it is let go of its lock.
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
