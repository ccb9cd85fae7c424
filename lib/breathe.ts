import { setImmediate as nextTurn } from 'node:timers/promises'

/** Most time that is left to everybody else between two pieces of long work, ms. */
const MOST_REST_MS = 200

const waiting: (() => void)[] = []
let isScheduled = false

/**
 * A turn of the event loop for one piece of long work, which begins when this resolves and ends with the turn. They come one at a
 * time over the whole process, and after each as much time as it took, up to 200 ms, is left to all else: who sends many large bodies
 * at once waits for himself, and the others' requests wait for one piece at the most.
 */
export function longWorkTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve)
    if (isScheduled) return
    isScheduled = true
    setImmediate(giveTurn)
  })
}

function giveTurn(): void {
  const next = waiting.shift()
  if (next === undefined) {
    isScheduled = false
    return
  }
  const begun = performance.now()
  next()
  // What waits for `next` runs before this does.
  setImmediate(() => {
    const restMs = Math.min(performance.now() - begun, MOST_REST_MS)
    setTimeout(giveTurn, restMs)
  })
}

/** For long work in pieces: goes on at once, or in another `longWorkTurn` where its own has lasted for a while. */
export function createLongWork(): () => Promise<void> {
  let since = performance.now()
  return async () => {
    if (performance.now() - since < SLICE_MS) return
    await longWorkTurn()
    since = performance.now()
  }
}

/** How long a loop may hold the event loop, ms. */
const SLICE_MS = 10

/** For loops over much: resolves at once, or after a turn of the event loop where the last one was a while ago. */
export function createBreather(): () => Promise<void> {
  let since = performance.now()
  return async () => {
    if (performance.now() - since < SLICE_MS) return
    await nextTurn()
    since = performance.now()
  }
}
