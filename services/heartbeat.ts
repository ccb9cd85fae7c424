import { resolveLane } from '../config/lanes.ts'
import { createLeases, lockLease, placeLease } from '../jobs/leases.ts'
import { type Heartbeat, renewInterval, startHeartbeat } from '../workers/heartbeat.ts'
import { createRenewal } from '../workers/renewal.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** One thread per process renews the leases of its lanes. */
export function openHeartbeat(
  { config }: ServicesDeps,
  { redis, prefix, gate }: ReturnType<typeof openStore>,
  onError: (error: unknown, what: string) => void,
): Heartbeat {
  const settings = config.current()
  const { url, cluster, tls } = settings.redis
  const lockMs = lockLease(settings.jobs.stalled_after)
  const placeMs = placeLease(settings.jobs.stalled_after)
  const renewMs = renewInterval(lockMs)
  return startHeartbeat({
    renewal: createRenewal({ leases: createLeases({ redis, prefix, lockMs, placeMs }), gate }),
    renewMs,
    limitsOf(id) {
      const lane = resolveLane(config.current(), id)
      if (lane === null) return null
      const { limits, shared = [], sources } = lane
      return { limits, shared, ...(sources === undefined ? {} : { sources }) }
    },
    thread: {
      redis: {
        ...(url === undefined ? {} : { url }),
        ...(cluster === undefined ? {} : { cluster }),
        ...(tls === undefined ? {} : { tls }),
      },
      prefix,
      lockMs,
      placeMs,
      renewMs,
      hungMs: settings.worker.hung_after,
    },
    onError,
  })
}
