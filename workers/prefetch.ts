import type { Lane } from '../config/lanes.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import type { Hand } from './hand.ts'
import type { HeldEntries } from './held-entries.ts'
import { isLookDue, isResting, type LoopStateOwner, nextLookAt, shutUntil } from './loop-state.ts'
import type { ShutTiers } from './shut-tiers.ts'

/**
 * Shortest wait from an empty look to the next look for a due entry, ms. This process' view of Redis' clock may be
 * slightly ahead, and the entry not due yet.
 */
const SOONEST_MS = 10

/** How a lane's loop gets entries from its queue into its hand. */
export function createPrefetch(deps: {
  hand: Hand
  state: LoopStateOwner
  queue: Pick<LaneQueue, 'fetch' | 'isEmpty' | 'nextDue'>
  entries: Pick<HeldEntries, 'hold'>
  shutTiers: Pick<ShutTiers, 'holds' | 'isStandardShut' | 'search'>
  /** Unix ms, by Redis' clock. */
  now: () => number
}) {
  const { hand, state, queue, entries, shutTiers } = deps

  /** Fetches as many entries as fit into one call, or as many calls as the gate granted lately. */
  async function fill(lane: Lane): Promise<void> {
    // While the gate is shut, a coalesced request may still grow. Other entries would only wait here.
    if (performance.now() < shutUntil(state.now()) && !(lane.coalesce && hand.size() > 0)) return
    while (isLookDue(state.now(), performance.now())) {
      const found = shutTiers.isStandardShut() ? await shutTiers.search() : null
      if (found === 0) return
      const room = found ?? roomInHand(lane)
      if (room <= 0) return
      const isFull = await look(found ?? Math.min(room, state.now().fetch.count))
      if (!isFull || !lane.coalesce) return
    }
  }

  /** Fetches up to `asked` entries. True: there were as many. */
  async function look(asked: number): Promise<boolean> {
    const since = performance.now()
    state.tell({ kind: 'look' })
    // If the latest look found nothing and no hint came since, one short command replaces the fetch.
    if (isResting(state.now()) && hand.size() === 0 && (await queue.isEmpty())) {
      state.tell({ kind: 'found_empty', now: performance.now() })
      return false
    }
    const fetched = await queue.fetch(asked)
    for (const one of fetched) {
      entries.hold(one)
      hand.add(one, since)
    }
    state.tell({ kind: 'fetched', asked, count: fetched.length, now: performance.now() })
    return fetched.length === asked
  }

  function roomInHand({ coalesce }: Lane): number {
    if (!coalesce) {
      const free = hand.list().filter((one) => !shutTiers.holds(one.held))
      return state.now().fetch.count - free.length
    }
    let inputs = 0
    let tokens = 0
    for (const { held } of hand.list()) {
      inputs += held.cost.inputs
      tokens += held.cost.tokens
    }
    return tokens >= coalesce.max_tokens ? 0 : coalesce.max_inputs - inputs
  }

  /**
   * When there may be something to fetch, by `performance.now`. If a delayed entry may be due earlier, it asks the
   * queue when.
   */
  async function findNextLook(): Promise<number> {
    state.tell({ kind: 'ran_empty' })
    const { queue: known } = state.now()
    if (known.kind === 'empty' && known.nextDue === 'asked') {
      const due = await queue.nextDue()
      const at = due === null ? null : performance.now() + Math.max(SOONEST_MS, due - deps.now())
      state.tell({ kind: 'due', at })
    }
    return nextLookAt(state.now())
  }

  return { fill, findNextLook }
}
