/** Lets a number of callers at a time through, the others in the order in which they came. */
export type Turnstile = {
  pass<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** How many wait. */
  waiting(): number
}

export function createTurnstile(most: number): Turnstile {
  let inside = 0
  const queue: (() => void)[] = []

  return {
    waiting: () => queue.length,
    async pass(act, signal) {
      if (inside < most) inside++
      else await new Promise<void>((resolve) => queue.push(resolve))
      try {
        signal.throwIfAborted()
        return await act()
      } finally {
        // The place is passed on directly, so that no other caller slips in between.
        const next = queue.shift()
        if (next) next()
        else inside--
      }
    },
  }
}
