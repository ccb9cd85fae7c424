/** Span in which launches are counted, ms. */
const SPAN_MS = 500

/** How many calls a lane launched lately. */
export type LaunchPace = {
  count(launched: number): void
  /** Calls in this span or the one before it, if those are more: about as many leave within half a second. */
  perSpan(): number
}

/** @param now ms of a clock that only goes forward */
export function createLaunchPace(now: () => number): LaunchPace {
  let since = now()
  let current = 0
  let before = 0

  function roll(): void {
    const spans = Math.floor((now() - since) / SPAN_MS)
    if (spans === 0) return
    before = spans === 1 ? current : 0
    current = 0
    since += spans * SPAN_MS
  }

  return {
    count(launched) {
      roll()
      current += launched
    },
    perSpan() {
      roll()
      return Math.max(before, current)
    },
  }
}
