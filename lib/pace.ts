import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A step of housekeeping that takes longer than this means that Redis, or this process, is busy, ms; and the same for work
 * that somebody waits for.
 */
const SLOW_MS = 100
const VERY_SLOW_MS = 500

/** After a slow step comes a rest of so many times as long, of so much at the most, ms. */
const REST_FACTOR = 2
const LONGEST_REST_MS = 1000

/**
 * Takes a step of upkeep. After a long step it rests before it resolves, so that other work continues.
 *
 * @param isAwaited somebody waits for the work: it rests only after a very long step
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
