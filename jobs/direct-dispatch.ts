import type { LaneQueue } from './lane-queue.ts'
import type { Outbox } from './outbox.ts'
import type { EntryMark, Held, QueueEntry, StartedCall, StartedFields } from './queue-entry.ts'

/**
 * Direct dispatch sends a job whose client waits, on an idle lane, straight from the API to a worker, by a message of
 * `create.lua`. The job stays in its tenant's outbox until it ends. If the message or the worker is lost, a sweep finds
 * the job there and queues it. A worker that makes the call moves the job's time in the outbox ahead, which works as a
 * lock.
 *
 * Usually that script has also taken the permit and started the call (`lua/start-here.lua`). Then the worker makes the
 * call at once.
 */
export type DirectDispatch = Pick<LaneQueue, 'acknowledge' | 'delay' | 'giveBack' | 'claimed'> & {
  /** The entry of a message, as this worker holds it. */
  toHeld(message: Buffer): Held
}

/** The token under which a worker claims what was dispatched to it. */
export function directToken(worker: string): string {
  return `direct:${worker}`
}

/** The entry in a message. `call`: for a job that may be started for its worker. */
export type DirectMessage = QueueEntry & { call?: StartedFields }

/**
 * First byte of a message about a started call. Then come `<permit> <Unix ms> <reserved, billionths> <lease, ms>`, a
 * line with the entry, and the body.
 */
const STARTED = 0x21
const LINE_END = 0x0a

function readMessage(message: Buffer): { entry: DirectMessage; started: StartedCall | null } {
  if (message[0] !== STARTED) return { entry: JSON.parse(message.toString()), started: null }
  const headEnd = message.indexOf(LINE_END)
  const entryEnd = message.indexOf(LINE_END, headEnd + 1)
  const [permit, at, reserved, leaseMs] = message.toString('utf8', 1, headEnd).split(' ')
  const entry = JSON.parse(message.toString('utf8', headEnd + 1, entryEnd)) as DirectMessage
  const body = message.subarray(entryEnd + 1)
  const started = {
    permit: permit!,
    at: Number(at),
    reservedUsd: reserved ? Number(reserved) / 1e9 : null,
    leaseMs: Number(leaseMs),
    fields: entry.call!,
    body: body.length === 0 ? null : body,
  }
  return { entry, started }
}

export function createDirectDispatch(deps: {
  outbox: Pick<Outbox, 'dispatch'>
  leaseMs: number
  /** The name of this worker. */
  worker: string
}): DirectDispatch {
  const { outbox, leaseMs, worker } = deps

  async function queue({ placed }: Held, notBefore: number | null, mark?: EntryMark): Promise<void> {
    if (placed !== null) await outbox.dispatch([{ ...placed, notBefore, ...(mark && { mark }) }])
  }

  return {
    toHeld(message) {
      const { entry: told, started } = readMessage(message)
      const { call: _, ...entry } = told
      const { tenant, id, entry: number, cost } = entry
      return {
        tenant,
        id,
        entry: number,
        cost,
        token: directToken(worker),
        apart: null,
        throttles: null,
        fallsBackAt: null,
        leaseMs,
        bull: null,
        placed: entry,
        isDirect: started === null,
        started,
      }
    },
    // The end of the job removed its place from the outbox. If the job did not end, the sweep must find it there.
    acknowledge: async () => {},
    claimed: (held) => ({ ...held, isDirect: false, started: null }),
    delay: (held, at, mark) => queue(held, at, mark),
    giveBack: (held) => queue(held, null),
  }
}
