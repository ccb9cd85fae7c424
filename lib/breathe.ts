import { setImmediate as nextTurn } from 'node:timers/promises'

/** Longest pause for all other work between two pieces of long work, ms. */
const MOST_REST_MS = 200

const waiting: (() => void)[] = []
let isScheduled = false

/**
 * A turn of the event loop for one piece of long work, which begins when this resolves and ends with the turn. The process runs one
 * piece at a time. After each, all other work gets as much time as the piece took, up to 200 ms. So a client that sends many large
 * bodies at once waits for its own work, and other requests wait for one piece at the most.
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

/** For long work in pieces: continues at once, or in another `longWorkTurn` if its own has lasted for a while. */
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

/** For long loops: resolves at once, or after a turn of the event loop if the last one was a while ago. */
export function createBreather(): () => Promise<void> {
  let since = performance.now()
  return async () => {
    if (performance.now() - since < SLICE_MS) return
    await nextTurn()
    since = performance.now()
  }
}
