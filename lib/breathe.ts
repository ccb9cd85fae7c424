import { setImmediate as nextTurn } from 'node:timers/promises'

/** Longest pause for other work between two pieces of long work, ms. */
const MOST_REST_MS = 200

const waiting: (() => void)[] = []
let isScheduled = false

/**
 * Waits for a turn of the event loop for one piece of long work. The piece starts when this resolves and ends with the turn. The process
 * runs one piece at a time. After each piece, all other work gets as much time as the piece took, up to 200 ms. So a client that sends many
 * large bodies at once delays its own work, and other requests wait for at most one piece.
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
  // Code that awaits `next` runs before this.
  setImmediate(() => {
    const restMs = Math.min(performance.now() - begun, MOST_REST_MS)
    setTimeout(giveTurn, restMs)
  })
}

/** For long work in pieces: continues at once, or in another `longWorkTurn` if the current one has lasted longer than a slice. */
export function createLongWork(): () => Promise<void> {
  let since = performance.now()
  return async () => {
    if (performance.now() - since < SLICE_MS) return
    await longWorkTurn()
    since = performance.now()
  }
}

/** The longest time that a loop may block the event loop, ms. */
const SLICE_MS = 10

/** For long loops: resolves at once, or after a turn of the event loop if the last one was longer ago than a slice. */
export function createBreather(): () => Promise<void> {
  let since = performance.now()
  return async () => {
    if (performance.now() - since < SLICE_MS) return
    await nextTurn()
    since = performance.now()
  }
}
