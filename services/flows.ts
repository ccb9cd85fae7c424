import { createFlowJobMaker } from '../api/flows/flow-jobs.ts'
import { resolveTenant } from '../config/tenants.ts'
import { flowKey, flowsChannel } from '../flows/keys.ts'
import { createFlowReader } from '../flows/record.ts'
import { type FlowProgress, startFlowRunner } from '../flows/runner.ts'
import { createFlowWork } from '../flows/work.ts'
import type { Closers } from './closers.ts'
import type { MeteredDeps, openStore } from './store.ts'
import { createSubmission } from './submission.ts'
import { listenToTenants } from './tenants.ts'
import type { Traces } from './tracing.ts'

/** How often a worker checks the flows of all tenants, in case a message is lost, ms. */
const LOOK_AT_ALL_MS = 600_000

/** Limit of open jobs of one step without its own number, and its share of the tenant's open jobs. */
const WINDOW = 1000
const WINDOW_SHARE = 1 / 2

/** Opens the runner that advances flows after events. */
export function openFlowRunner(
  deps: MeteredDeps,
  store: ReturnType<typeof openStore>,
  traces: Traces,
  closers: Closers,
): void {
  const { config, log } = deps
  const { redis, prefix, atRest } = store
  const runner = startFlowRunner({
    work: createFlowWork({ scripts: store.flowScripts, prefix, retainMs: store.retainMs }),
    reader: createFlowReader({ redis, atRest }),
    prefix,
    atRest,
    jobs: traces.jobs(store.jobs),
    toJob: createFlowJobMaker({
      submission: createSubmission(config, store.gathering.turnaround),
      config: () => config.current(),
      now: store.now,
    }),
    readStoredValue: (root, id, step) => redis.hgetBuffer(`${flowKey(root, id)}:values`, String(step)),
    bounds: () => {
      const { max_elements, max_value } = config.current().flows
      return { elements: max_elements, valueBytes: max_value }
    },
    window: (tenant) => {
      const most = resolveTenant(config.current(), tenant)?.limits.max_queued ?? WINDOW
      return Math.max(1, Math.floor(Math.min(WINDOW, most * WINDOW_SHARE)))
    },
    tenants: store.maintenance.tenants,
    // The maintainer announces due work.
    idleMs: LOOK_AT_ALL_MS,
    now: store.now,
    onError: store.onError,
    onFailure: store.onFailure,
    onProgress: (progress) => {
      deps.metrics.flows.onProgress(progress)
      logProgress(log, progress)
      traces.flow?.(progress)
    },
  })
  closers.add('the flows', () => runner.stop())
  listenToTenants(deps, store, flowsChannel, runner.wake, closers)
}

/** Logs each flow that ends, without requests, answers or names, which belong to the client. */
function logProgress(log: MeteredDeps['log'], progress: FlowProgress): void {
  if (progress.ended === null) return
  const { tenant, id, requestId, errorCode, durationMs } = progress
  const line = { flow: id, tenant, request_id: requestId, ms: Math.round(durationMs) }
  if (progress.ended === 'failed') log.warn({ ...line, code: errorCode }, 'flow failed')
  else log.debug(line, `flow ${progress.ended}`)
}
