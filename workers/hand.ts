import type { Held } from '../jobs/queue-entry.ts'
import type { Prefetched } from './plan.ts'

/** The entries that one lane of this process has prefetched, oldest first. */
export type Hand = {
  /** @param since when the entry was fetched, by `performance.now` */
  add(held: Held, since: number): void
  size(): number
  list(): readonly Prefetched[]
  entries(): Held[]
  /** Removes the entries that `isTaken` names, or all of them without it, and returns them. */
  take(isTaken?: (held: Held) => boolean): Held[]
  /** Removes all but the first `count`, and returns them. */
  takeAllBut(count: number): Held[]
}

export function createHand(): Hand {
  let hand: Prefetched[] = []
  const toHeld = (some: readonly Prefetched[]) => some.map((one) => one.held)
  return {
    add(held, since) {
      hand.push({ held, since })
    },
    size: () => hand.length,
    list: () => hand,
    entries: () => toHeld(hand),
    take(isTaken = () => true) {
      const taken = toHeld(hand).filter(isTaken)
      hand = hand.filter((one) => !taken.includes(one.held))
      return taken
    },
    takeAllBut(count) {
      const taken = toHeld(hand.slice(count))
      hand = hand.slice(0, count)
      return taken
    },
  }
}
