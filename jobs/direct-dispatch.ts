import type { LaneQueue } from './lane-queue.ts'
import type { Outbox } from './outbox.ts'
import type { EntryMark, Held, QueueEntry } from './queue-entry.ts'

/**
 * Direct dispatch: a job whose client waits, on an idle lane, goes straight from the API to a worker, by a message of
 * `create.lua`. It stays in its tenant's outbox all the while. If the message or the worker is lost, a sweeper finds it
 * there and queues it. A worker that makes the call moves the job's time in the outbox into the future, as a lock.
 */
export type DirectDispatch = Pick<LaneQueue, 'acknowledge' | 'delay' | 'giveBack' | 'claimed'> & {
  /** The entry of a message, as this worker holds it. */
  toHeld(message: string): Held
}

export function createDirectDispatch(deps: {
  outbox: Pick<Outbox, 'dispatch'>
  leaseMs: number
  /** Of this process. */
  worker: string
}): DirectDispatch {
  const { outbox, leaseMs, worker } = deps

  async function queue({ placed }: Held, notBefore: number | null, mark?: EntryMark): Promise<void> {
    if (placed !== null) await outbox.dispatch([{ ...placed, notBefore, ...(mark && { mark }) }])
  }

  return {
    toHeld(message) {
      const entry = JSON.parse(message) as QueueEntry
      const { tenant, id, entry: number, cost } = entry
      return {
        tenant,
        id,
        entry: number,
        cost,
        token: `direct:${worker}`,
        apart: null,
        throttles: null,
        fallsBackAt: null,
        leaseMs,
        bull: null,
        placed: entry,
        isDirect: true,
      }
    },
    // The end of the job removed it from the outbox. If it did not end, the sweeper must find it there.
    acknowledge: async () => {},
    claimed: (held) => ({ ...held, isDirect: false }),
    delay: (held, at, mark) => queue(held, at, mark),
    giveBack: (held) => queue(held, null),
  }
}
