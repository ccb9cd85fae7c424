import { createLaneControl, type LaneControl } from '../api/lanes/lanes.ts'
import { wakeChannel } from '../jobs/keys.ts'
import { createScheduledCounts } from '../jobs/scheduled-counts.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** Reads and controls lanes, using state that all processes share. */
export function openLaneControl(
  config: ServicesDeps['config'],
  store: ReturnType<typeof openStore>,
): LaneControl {
  return createLaneControl({
    config: () => config.current(),
    gate: store.gate,
    queues: store.queues,
    fairness: store.fairness,
    forecaster: store.forecaster,
    latencies: store.latencies,
    brokenCalls: store.brokenCalls,
    scheduled: createScheduledCounts({ ...store, tenants: store.maintenance.tenants }),
    wake: (lane) => store.redis.publish(wakeChannel(store.prefix), lane),
    now: store.now,
  })
}
