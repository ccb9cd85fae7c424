import { setTimeout as sleep } from 'node:timers/promises'

/** A text that is made at most once a second, however many watch it, and not at all while nobody does. */
export type Sampler = {
  /** One as it stands, at most `interval` old; throws what taking it throws. */
  latest(): Promise<string>
  /** One at once, then each as it is taken, the newest for a reader that is slow; until the signal. */
  watch(signal: AbortSignal): AsyncGenerator<string>
}

/** One that took long is followed by a rest so many times as long. */
const REST_FACTOR = 2

export function createSampler(deps: {
  take: () => Promise<string>
  /** Between two samples, ms. */
  interval: number
  /** Told once when taking them begins to fail; watchers wait until it works again. */
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

  /** Takes one after the other as long as somebody watches; without a watcher it ends when the next would be due. */
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

/** No `Promise.race`: of each, the promise of an abort that never comes would keep something for as long as somebody watches. */
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
