import { setTimeout as sleep } from 'node:timers/promises'
import type { Lane } from '../config/lanes.ts'
import type { Cost, Gate } from '../ratelimit/gate.ts'
import type { ServiceTier } from '../ratelimit/lane-state.ts'

/** The longest wait between two tries, ms: a limit may have been raised. */
const MOST_WAIT_MS = 1000

/** Pause after an error of the store, ms. */
const ERROR_PAUSE_MS = 250

/** Waits for a permit outside of the order of a lane's loop. Throws when the worker stops. */
export async function acquirePermit(
  deps: {
    gate: Gate
    lane: () => Lane
    isStopping: () => boolean
    onError: (error: unknown, what: string) => void
  },
  cost: Cost,
  tenant: string,
  source: string,
  tier: ServiceTier,
): Promise<string> {
  for (;;) {
    const answer = await deps.gate.take(deps.lane(), [cost], [tenant], [source], [tier]).catch((error) => {
      deps.onError(error, 'taking a permit')
      return { permits: [], waitMs: ERROR_PAUSE_MS }
    })
    const permit = answer.permits[0]
    if (permit !== undefined) return permit
    if (deps.isStopping()) throw new Error('the worker stops')
    await sleep(Math.min(MOST_WAIT_MS, Math.max(1, answer.waitMs)))
  }
}
