import { setTimeout as sleep } from 'node:timers/promises'
import type { Gate, PermitRequest } from '../ratelimit/gate.ts'
import { gatherSettlements } from './gather-settlements.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { ServedLane } from './served-lanes.ts'

/** The longest wait between two tries, ms, because a limit may have been raised meanwhile. */
const MOST_WAIT_MS = 1000

/** Pause after an error of the store, ms. */
const ERROR_PAUSE_MS = 250

/**
 * The gate as one lane of this process uses it. It sends settlements together, and the heartbeat renews the permits
 * that it holds.
 */
export type LaneGate = Gate & {
  /** The permit is in use. */
  hold(permit: string): void
  /** The permit is settled. */
  release(permit: string): void
  /** Waits for a permit and holds it, independently of the lane's loop and its order. Throws when the worker stops. */
  acquire(request: PermitRequest): Promise<string>
}

export function createLaneGate(deps: {
  gate: Gate
  lane: Pick<ServedLane, 'id' | 'current'>
  heartbeat: Pick<Heartbeat, 'holdPermit' | 'dropPermit'>
  isStopping: () => boolean
  onError: (error: unknown, what: string) => void
}): LaneGate {
  const { gate, lane, heartbeat } = deps
  const hold = (permit: string) => heartbeat.holdPermit(lane.id, permit)

  async function acquire(request: PermitRequest): Promise<string> {
    for (;;) {
      const answer = await gate.take(lane.current(), [request]).catch((error) => {
        deps.onError(error, 'taking a permit')
        return { permits: [], waitMs: ERROR_PAUSE_MS }
      })
      const permit = answer.permits[0]
      if (permit !== undefined) {
        hold(permit)
        return permit
      }
      if (deps.isStopping()) throw new Error('the worker stops')
      await sleep(Math.min(MOST_WAIT_MS, Math.max(1, answer.waitMs)))
    }
  }

  return {
    ...gatherSettlements(gate),
    hold,
    release: (permit) => heartbeat.dropPermit(lane.id, permit),
    acquire,
  }
}
