import type { Held } from '../jobs/queue-entry.ts'
import type { Heartbeat } from './heartbeat.ts'

/**
 * The entries that one lane of this process holds. The heartbeat renews their locks and places. A process that was
 * blocked may have lost an entry to another worker. Then that worker holds the job's place in the outbox, and `start`
 * (jobs/lua/start.lua) says so.
 */
export type HeldEntries = {
  hold(one: Held): void
  drop(one: Held): void
  /** Stops renewing the entries: the stalled check requeues them. */
  abandon(entries: readonly Held[]): void
  all(): Held[]
  /** When the last entry was dropped, by `performance.now`. */
  busyAt(): number
}

export function createHeldEntries(deps: {
  laneId: string
  heartbeat: Pick<Heartbeat, 'hold' | 'drop'>
}): HeldEntries {
  const { laneId, heartbeat } = deps
  const held = new Set<Held>()
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
    hold(one) {
      held.add(one)
      heartbeat.hold(one, laneId)
    },
    drop,
    abandon,
    all: () => [...held],
    busyAt: () => busyAt,
  }
}
