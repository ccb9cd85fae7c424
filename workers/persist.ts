import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Carries a write out that must not be lost: a result that was paid for. Tries again until the store takes it.
 * Every write given here is idempotent.
 *
 * @param signal gives up, throwing the last error: the process has to go
 */
export async function persist<T>(
  write: () => Promise<T>,
  deps: { signal: AbortSignal; onError: (error: unknown) => void },
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await write()
    } catch (error) {
      deps.onError(error)
      if (deps.signal.aborted) throw error
      try {
        await sleep(Math.min(1000, 50 * 2 ** attempt), undefined, { signal: deps.signal })
      } catch {
        throw error
      }
    }
  }
}
