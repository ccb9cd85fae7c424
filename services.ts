import { putApiTogether } from './services/api.ts'
import type { Service } from './services/closers.ts'
import { orCloseAll } from './services/closers.ts'
import { withMetrics } from './services/metrics.ts'
import type { ServicesDeps } from './services/store.ts'
import { putWorkerTogether } from './services/worker.ts'

/** Opens the HTTP server and listens. */
export function openApi(deps: ServicesDeps): Promise<Service> {
  return orCloseAll(deps.log, (closers) => putApiTogether(withMetrics(deps), closers))
}

/** Opens the worker: lanes, sweeper, webhook delivery. */
export function openWorker(deps: ServicesDeps): Promise<Service> {
  return orCloseAll(deps.log, (closers) => putWorkerTogether(withMetrics(deps), closers))
}
