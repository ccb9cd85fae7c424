import { setTimeout as sleep } from 'node:timers/promises'
import type { ProviderAccess } from '../api/deps.ts'
import { ApiError } from '../api/errors.ts'
import type { Gate } from '../ratelimit/gate.ts'

/** How long a request that is not a job waits for a permit, ms. */
const PATIENCE_MS = 10_000
/** Maximum interval of attempts, because others may return capacity, ms. */
const LOOK_MS = 1_000

/** Takes a lane's permit for a request that an API process sends itself. */
export function createPermits(gate: Pick<Gate, 'take' | 'settle'>): ProviderAccess['takePermit'] {
  return async (lane, cost, tenant, signal) => {
    const until = performance.now() + PATIENCE_MS
    for (;;) {
      const { permits, waitMs, never } = await gate.take(lane, [{ cost, tenant }])
      const permit = permits[0]
      if (permit !== undefined) {
        return { settle: (actual) => gate.settle(lane, [{ permit, actual }]).catch(() => {}) }
      }
      if (never) throw new ApiError('exceeds_limit', `the request is larger than ${lane.id} could ever admit`)
      if (performance.now() + waitMs > until) {
        throw new ApiError('rate_limited', `the limits of ${lane.id} leave no room for this request now`, {
          retryAfterSeconds: Number.isFinite(waitMs) ? Math.min(600, waitMs / 1000) : 60,
        })
      }
      // Nobody reads the answer for a client that disconnected, but it must not count as our error.
      await sleep(Math.min(waitMs, LOOK_MS), undefined, { signal }).catch(() => {
        throw new ApiError('unavailable', 'the client went away')
      })
    }
  }
}
