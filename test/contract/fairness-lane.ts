import { type FairState, priorityOf, serveTagged, type Tagged, tagEntries } from '../../ratelimit/fairness.ts'

/** An entry that waits in a simulated lane. */
export type Waiting = Tagged & { start: number; priority: number; place: number }

/**
 * A lane without Redis: the twin assigns tags, and entries are served by priority, then in the order in which they
 * came.
 */
export type SimulatedLane = {
  readonly state: FairState
  readonly size: number
  add(entries: readonly Tagged[]): Waiting[]
  /** Serves the next entry; undefined when none waits. */
  take(): Waiting | undefined
  /** All waiting entries, in the order in which they would be served if no more came. */
  order(): Waiting[]
}

export function createSimulatedLane(): SimulatedLane {
  const state: FairState = { v: 0, ends: new Map() }
  /** A binary heap, for floods of a hundred thousand. */
  const heap: Waiting[] = []
  let places = 0

  function push(entry: Waiting): void {
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (compare(heap[parent]!, entry) <= 0) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = entry
  }

  function pop(): Waiting | undefined {
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && compare(heap[child + 1]!, heap[child]!) < 0) child++
      if (compare(last, heap[child]!) <= 0) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }

  return {
    state,
    get size() {
      return heap.length
    },
    add(entries) {
      const starts = tagEntries(state, entries)
      return entries.map((entry, index) => {
        const start = starts[index]!
        const waiting = { ...entry, start, priority: priorityOf(start, entry.band), place: places++ }
        push(waiting)
        return waiting
      })
    },
    take() {
      const entry = pop()
      if (entry) serveTagged(state, entry.start)
      return entry
    },
    order: () => heap.toSorted(compare),
  }
}

function compare(a: Waiting, b: Waiting): number {
  return a.priority - b.priority || a.place - b.place
}
