import type { Claimed } from '../jobs/claim.ts'
import { type LaneQueue, LONGEST_PAUSE_DELAY_MS } from '../jobs/lane-queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Work } from '../jobs/work.ts'

/**
 * How a lane's loop returns entries that it does not send. Entries that cannot be returned are abandoned: their locks end,
 * and the stalled check requeues them.
 */
export function createHandOff(deps: {
  queue: LaneQueue
  work: Pick<Work, 'models' | 'reroute'>
  /** The lane that serves a model's jobs when this lane cannot; null: there is none. */
  successor: (job: Pick<Claimed, 'model' | 'unfitLanes'>) => string | null
  abandon: (entries: Held[]) => void
  now: () => number
}) {
  const { queue, work } = deps

  async function orAbandon(entries: Held[], parting: Promise<unknown>): Promise<void> {
    try {
      await parting
    } catch (error) {
      deps.abandon(entries)
      throw error
    }
  }

  async function spillAll(entries: Held[], until: number): Promise<void> {
    const models = await work.models(entries)
    const at = Math.min(until, deps.now() + LONGEST_PAUSE_DELAY_MS)
    const moved: Held[] = []
    await Promise.all(
      entries.map(async (one, index) => {
        const model = models[index]
        const next = model ? deps.successor(model) : null
        if (next === null) return queue.delay(one, at)
        await work.reroute(one, next)
        await queue.acknowledge(one)
        moved.push(one)
      }),
    )
    queue.left(moved)
  }

  async function delayAll(
    entries: Held[],
    until: number,
    fallBackOf: (one: Held) => number | null,
  ): Promise<void> {
    await Promise.all(
      entries.map((one) => {
        const fallsBackAt = fallBackOf(one)
        return fallsBackAt === null
          ? queue.delay(one, until)
          : queue.delay(one, Math.min(until, fallsBackAt), { fallsBackAt })
      }),
    )
  }

  async function oneByOne(entries: Held[]): Promise<void> {
    // The last one first: each goes to the front.
    for (const one of entries.toReversed()) await queue.giveBack(one)
  }

  return {
    /** Moves entries to the next lanes of their routes; those without one are delayed until `until`, Unix ms. */
    spill: (entries: Held[], until: number) => orAbandon(entries, spillAll(entries, until)),
    giveBack: (entries: Held[]) => orAbandon(entries, Promise.all(entries.map((one) => queue.giveBack(one)))),
    /** Delays entries whose tier is shut until `until`, Unix ms, or until they go at standard. */
    putOff: (entries: Held[], until: number, fallBackOf: (one: Held) => number | null) =>
      orAbandon(entries, delayAll(entries, until, fallBackOf)),
    /** Puts entries at the front of the queue, in their order. */
    giveBackInTurn: (entries: Held[]) => orAbandon(entries, oneByOne(entries)),
  }
}
