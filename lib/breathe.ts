import { setImmediate as nextTurn } from 'node:timers/promises'

export { nextTurn }

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
