import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_MS = 50

/** The promise's value; rejects when it takes longer. */
export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  const timer = Promise.withResolvers<never>()
  const timeout = setTimeout(() => timer.reject(new Error(`${what} took more than ${ms} ms`)), ms)
  try {
    return await Promise.race([promise, timer.promise])
  } finally {
    clearTimeout(timeout)
  }
}

/**
 * Repeats `look` until its answer is neither null nor undefined. A look that throws has found nothing: during a fault
 * it may fail.
 */
export async function until<T>(
  look: () => Promise<T | null | undefined> | T | null | undefined,
  ms: number,
  what: string,
): Promise<T> {
  const deadline = performance.now() + ms
  let reason: unknown = 'not yet'
  while (performance.now() < deadline) {
    try {
      const found = await look()
      if (found !== null && found !== undefined) return found
      reason = 'not yet'
    } catch (error) {
      reason = error
    }
    await sleep(LOOK_MS)
  }
  throw new Error(`${what} did not come within ${ms} ms (${reason})`)
}
