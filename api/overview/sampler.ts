import { setTimeout as sleep } from 'node:timers/promises'

/** Takes a text at most once a second for any number of watchers, and not at all without watchers. */
export type Sampler = {
  /** A current sample, at most `interval` old. Throws the errors of taking it. */
  latest(): Promise<string>
  /** Yields one sample at once, then each new one until the signal aborts. A slow reader gets the newest. */
  watch(signal: AbortSignal): AsyncGenerator<string>
}

/** A sample that took long is followed by a pause of this many times as long. */
const REST_FACTOR = 2

export function createSampler(deps: {
  take: () => Promise<string>
  /** Interval of samples, ms. */
  interval: number
  /** Called once when taking samples begins to fail. Watchers wait until it works again. */
  onError: (error: unknown) => void
  now: () => number
}): Sampler {
  const { take, interval, now } = deps
  let current: { text: string; at: number; tookMs: number } | null = null
  let taking: Promise<string> | null = null
  let watchers = 0
  let isRunning = false
  let next = Promise.withResolvers<void>()

  async function sample(): Promise<string> {
    const startedAt = now()
    const taken = await take()
    current = { text: taken, at: now(), tookMs: now() - startedAt }
    next.resolve()
    next = Promise.withResolvers()
    return taken
  }

  async function latest(): Promise<string> {
    if (current !== null && now() - current.at < interval) return current.text
    taking ??= sample().finally(() => {
      taking = null
    })
    return taking
  }

  /** Takes samples as long as there are watchers. Ends when the next sample is due without one. */
  async function run(): Promise<void> {
    if (isRunning) return
    isRunning = true
    let isFailing = false
    while (watchers > 0) {
      const { at, tookMs } = current ?? { at: now(), tookMs: 0 }
      const pause = Math.max(interval, tookMs * REST_FACTOR)
      await sleep(Math.max(1, at + pause - now()), undefined, { ref: false })
      if (watchers === 0) break
      try {
        await latest()
        isFailing = false
      } catch (error) {
        if (!isFailing) deps.onError(error)
        isFailing = true
        current = null
      }
    }
    isRunning = false
  }

  return {
    latest,
    async *watch(signal) {
      watchers++
      try {
        if (signal.aborted) return
        let shown = await latest()
        run()
        yield shown
        while (!signal.aborted) {
          const waiting = next.promise
          if (current !== null && current.text !== shown) {
            shown = current.text
            yield shown
          } else await untilEither(waiting, signal)
        }
      } finally {
        watchers--
      }
    },
  }
}

/** `Promise.race` would keep something for each sample, as long as the abort does not come. */
function untilEither(event: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      signal.removeEventListener('abort', end)
      resolve()
    }
    signal.addEventListener('abort', end)
    event.then(end)
  })
}
