import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A step of housekeeping that takes longer than this, ms, shows that Redis or this process is busy. The second value is for work that
 * somebody waits for.
 */
const SLOW_MS = 100
const VERY_SLOW_MS = 500

/** After a slow step comes a pause of this many times its duration, up to the maximum, ms. */
const REST_FACTOR = 2
const LONGEST_REST_MS = 1000

/**
 * Runs a step of housekeeping. After a slow step it pauses before it resolves, so that other work continues.
 *
 * @param isAwaited somebody waits for the work: it pauses only after a very slow step
 */
export async function paced<Value>(
  step: () => Promise<Value>,
  { isAwaited = false }: { isAwaited?: boolean } = {},
): Promise<Value> {
  const startedAt = performance.now()
  const value = await step()
  const tookMs = performance.now() - startedAt
  if (tookMs > (isAwaited ? VERY_SLOW_MS : SLOW_MS))
    await sleep(Math.min(LONGEST_REST_MS, REST_FACTOR * tookMs), undefined, { ref: false })
  return value
}
