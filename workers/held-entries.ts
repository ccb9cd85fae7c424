import type { LaneQueue } from '../jobs/lane-queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Heartbeat } from './heartbeat.ts'

/** The entries that one lane of this process holds; the heartbeat renews their locks and places. Times are of `performance.now`. */
export type HeldEntries = {
  /** @param since when it was known to be ours */
  hold(one: Held, since: number): void
  drop(one: Held): void
  /** Stops renewing the entries: the stalled check requeues them. */
  abandon(entries: readonly Held[]): void
  /**
   * The entries whose locks this process still has. While it was blocked, an entry may have gone to another worker. A claim would
   * then count that worker's call as lost, and call again. Asks only if that may be, which is rare.
   */
  stillHeld(entries: Held[]): Promise<Held[]>
  all(): Held[]
  /** When the last one was dropped. */
  busyAt(): number
}

export function createHeldEntries(deps: {
  laneId: string
  heartbeat: Pick<Heartbeat, 'hold' | 'drop'>
  queue: Pick<LaneQueue, 'renew' | 'lockMs'>
}): HeldEntries {
  const { laneId, heartbeat, queue } = deps
  /** The locks of entries that were known to be ours longer ago may have ended, ms. */
  const lateMs = queue.lockMs / 2
  const held = new Map<Held, number>()
  let busyAt = performance.now()

  function drop(one: Held): void {
    held.delete(one)
    busyAt = performance.now()
    heartbeat.drop(one, laneId)
  }

  function abandon(entries: readonly Held[]): void {
    for (const one of entries) drop(one)
  }

  return {
    hold(one, since) {
      held.set(one, since)
      heartbeat.hold(one, laneId)
    },
    drop,
    abandon,
    async stillHeld(entries) {
      const askedAt = performance.now()
      const isInDoubt = (one: Held) =>
        one.placed === null && askedAt - (held.get(one) ?? Number.NEGATIVE_INFINITY) >= lateMs
      const inDoubt = entries.filter(isInDoubt)
      if (inDoubt.length === 0) return entries
      const lost = await queue.renew(inDoubt)
      for (const one of inDoubt) if (held.has(one)) held.set(one, askedAt)
      abandon(lost)
      return entries.filter((one) => !lost.includes(one))
    },
    all: () => [...held.keys()],
    busyAt: () => busyAt,
  }
}
