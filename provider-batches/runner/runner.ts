import { randomUUID } from 'node:crypto'
import { createWaker } from '../../lib/waker.ts'
import type { ProviderBatchDeps } from './deps.ts'
import { type LaneRun, runLane } from './lane.ts'

/** Longest pause between two looks for lanes, ms. */
const IDLE_MS = 5_000
/** Looks between two removals of lanes without batches. */
const TRIM_LOOKS = 12

export type ProviderBatchRunner = {
  /** Call it when a job waits for a batch of this lane. */
  wake(lane: string): void
  /** Stops. Other workers continue the lanes. */
  stop(): Promise<void>
}

/**
 * Runs the provider batches of lanes. Each lane belongs to one process at a time: the one that holds its lease. When a worker dies, the
 * lease ends and another worker continues the lane.
 */
export function startProviderBatchRunner(deps: ProviderBatchDeps): ProviderBatchRunner {
  const { store, onError } = deps
  const lanes = new Map<string, LaneRun>()
  const waker = createWaker()
  const stopping = new AbortController()

  async function look(isTrimming: boolean): Promise<void> {
    for (const lane of await store.lanes()) {
      if (stopping.signal.aborted || lanes.has(lane)) continue
      try {
        const held = await store.claim(lane, randomUUID())
        if (held === null) {
          if (isTrimming) await store.trim(lane)
          continue
        }
        const run = runLane(deps, held, stopping.signal)
        lanes.set(lane, run)
        run.done
          .finally(() => lanes.delete(lane))
          .then(() => {
            // A job may have come while the run ended. The run of a lane that is not configured here ends at once: it waits for the next look.
            if (deps.laneOf(lane) !== null) waker.wake()
          })
          .catch((error) => onError(error, `the batches of ${lane}`))
      } catch (error) {
        onError(error, `the batches of ${lane}`)
      }
    }
  }

  async function loop(): Promise<void> {
    for (let looks = 1; !stopping.signal.aborted; looks++) {
      await look(looks % TRIM_LOOKS === 0).catch((error) => onError(error, 'looking for provider batches'))
      if (!stopping.signal.aborted) await waker.sleep(IDLE_MS)
    }
  }
  const done = loop()

  return {
    wake(lane) {
      const run = lanes.get(lane)
      if (run) run.wake()
      else waker.wake()
    },
    async stop() {
      stopping.abort()
      waker.wake()
      await done
      await Promise.allSettled([...lanes.values()].map((run) => run.done))
    },
  }
}
