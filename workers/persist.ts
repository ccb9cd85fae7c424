import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Carries a write out that must not be lost: a result that was paid for. Tries again until the store takes it.
 * Every write given here is idempotent.
 *
 * @param deps.signal gives up, throwing the last error: the process has to go
 * @param deps.secure called at the first failure: puts what is to be written in a safe place beside the tries, and answers
 *   what takes it away again once it is written
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
      const written = await write()
      secured?.then((takeAway) => takeAway())
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

  async function giveUp(error: unknown): Promise<never> {
    await secured
    throw error
  }
}
