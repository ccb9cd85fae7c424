import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A step of housekeeping that takes longer finds Redis, or this process, with much to do, ms; and one of work that somebody
 * waits for.
 */
const SLOW_MS = 100
const VERY_SLOW_MS = 500

/** After a slow step comes a rest of so many times as long, of so much at the most, ms. */
const REST_FACTOR = 2
const LONGEST_REST_MS = 1000

/**
 * Takes a step of upkeep; where it took long, it rests before it resolves, so that others get on.
 *
 * @param isAwaited somebody waits for what it does: it rests only where the step took very long
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
