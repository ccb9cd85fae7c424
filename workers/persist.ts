import { setTimeout as sleep } from 'node:timers/promises'

/** How long a write under way may still take when the process gives up, ms. */
const LAST_MS = 1500

/** What is to be told of the end of the process, by its signal. */
const writesOf = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * The writes under way that hear of the signal. One listener serves all of them: a signal goes through all its listeners to add or remove
 * one, and a busy worker has a hundred writes under way.
 */
function writesUnder(signal: AbortSignal): Set<() => void> {
  const known = writesOf.get(signal)
  if (known !== undefined) return known
  const writes = new Set<() => void>()
  writesOf.set(signal, writes)
  signal.addEventListener('abort', () => writes.forEach((tell) => void tell()), { once: true })
  return writes
}

/**
 * Makes a write that must not be lost, such as a result that was paid for. It tries again until the store takes the
 * write. Every write given here has to be idempotent.
 *
 * @param deps.signal aborts when the process must end: `persist` then gives up and throws the last error
 * @param deps.secure called at the first failure. It saves the data in a safe place while the tries go on, and returns
 *   a function that removes the copy once the store has the data.
 */
export async function persist<T>(
  write: () => Promise<T>,
  deps: {
    signal: AbortSignal
    onError: (error: unknown) => void
    secure?: (() => Promise<() => Promise<void>>) | undefined
  },
): Promise<T> {
  let secured: Promise<() => Promise<void>> | undefined
  for (let attempt = 0; ; attempt++) {
    try {
      const written = await unlessGivenUp(write())
      secured?.then((remove) => remove())
      return written
    } catch (error) {
      deps.onError(error)
      secured ??= deps.secure?.()
      if (deps.signal.aborted) return giveUp(error)
      try {
        await sleep(Math.min(1000, 50 * 2 ** attempt), undefined, { signal: deps.signal })
      } catch {
        return giveUp(error)
      }
    }
  }

  /** A write may wait for Redis without a limit, but this process may not. */
  function unlessGivenUp(writing: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const abort = () => {
        timer = setTimeout(
          () => reject(new Error('the store did not answer before the process ended')),
          LAST_MS,
        )
      }
      const writes = writesUnder(deps.signal)
      if (deps.signal.aborted) abort()
      else writes.add(abort)
      const end = () => {
        clearTimeout(timer)
        writes.delete(abort)
      }
      writing.then(resolve, reject).finally(end)
    })
  }

  async function giveUp(error: unknown): Promise<never> {
    await secured
    throw error
  }
}

/**
 * Makes a write that must not be lost, as `persist` does.
 *
 * @param what what is written, for error reports
 */
export type Keep = <T>(
  write: () => Promise<T>,
  what: string,
  secure?: () => Promise<() => Promise<void>>,
) => Promise<T>

/** @param signal aborts when the process must end */
export function createKeep(signal: AbortSignal, onError: (error: unknown, what: string) => void): Keep {
  return (write, what, secure) => persist(write, { signal, onError: (error) => onError(error, what), secure })
}
