import { type LaneQueue, LONGEST_PAUSE_DELAY_MS } from '../jobs/lane-queue.ts'
import type { EntryMark, Held } from '../jobs/queue-entry.ts'
import type { Work } from '../jobs/work.ts'
import type { HeldEntries } from './held-entries.ts'
import type { ServedLane } from './served-lanes.ts'

/** When an entry comes back that has to wait until `until`, and what is stored with it for that. Times are Unix ms. */
export type PutOff = (one: Held, until: number) => { at: number; mark?: EntryMark }

const untilThen: PutOff = (_, until) => ({ at: until })

/**
 * How a lane's loop returns entries that it does not send. Entries that cannot be returned are abandoned: their locks
 * end, and the stalled check requeues them.
 */
export function createHandOff(deps: {
  queue: LaneQueue
  work: Pick<Work, 'models' | 'reroute'>
  lane: Pick<ServedLane, 'successor'>
  entries: Pick<HeldEntries, 'abandon'>
  now: () => number
}) {
  const { queue, work } = deps

  async function orAbandon(entries: Held[], returning: Promise<unknown>): Promise<void> {
    try {
      await returning
    } catch (error) {
      deps.entries.abandon(entries)
      throw error
    }
  }

  async function delayAll(entries: Held[], until: number, putOff: PutOff): Promise<void> {
    const longest = Math.min(until, deps.now() + LONGEST_PAUSE_DELAY_MS)
    await Promise.all(
      entries.map((one) => {
        const { at, mark } = putOff(one, longest)
        return queue.delay(one, at, mark)
      }),
    )
  }

  async function spillAll(entries: Held[], until: number, putOff: PutOff): Promise<void> {
    const models = await work.models(entries)
    const moved: Held[] = []
    await Promise.all(
      entries.map(async (one, index) => {
        const model = models[index]
        const next = model ? deps.lane.successor(model) : null
        if (next === null) return delayAll([one], until, putOff)
        await work.reroute(one, next)
        await queue.acknowledge(one)
        moved.push(one)
      }),
    )
    queue.left(moved)
  }

  async function oneByOne(entries: Held[]): Promise<void> {
    // The last entry first, because each goes to the front.
    for (const one of entries.toReversed()) await queue.giveBack(one)
  }

  return {
    /**
     * Moves entries to the next lanes of their routes. Those without one are delayed until `until`, Unix ms, or as
     * `putOff` says.
     */
    spill: (entries: Held[], until: number, putOff = untilThen) =>
      orAbandon(entries, spillAll(entries, until, putOff)),
    giveBack: (entries: Held[]) => orAbandon(entries, Promise.all(entries.map((one) => queue.giveBack(one)))),
    /** Delays entries whose tier is shut until `until`, Unix ms, or as `putOff` says. */
    delay: (entries: Held[], until: number, putOff: PutOff) =>
      orAbandon(entries, delayAll(entries, until, putOff)),
    /** Puts entries at the front of the queue, in their order. */
    giveBackInTurn: (entries: Held[]) => orAbandon(entries, oneByOne(entries)),
  }
}

export type HandOff = ReturnType<typeof createHandOff>
