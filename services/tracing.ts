import { randomUUID } from 'node:crypto'
import type { Jobs } from '../jobs/jobs.ts'
import type { Emitter } from '../lib/emitter.ts'
import { openTracing } from '../telemetry/tracing.ts'
import { createCallTracer } from '../telemetry/tracing-calls.ts'
import { createFlowTracer } from '../telemetry/tracing-flows.ts'
import { type OpenSpans, traceJobs, traceWork } from '../telemetry/tracing-jobs.ts'
import { createProviderBatchTracer } from '../telemetry/tracing-provider-batches.ts'
import { createRequestTracer } from '../telemetry/tracing-requests.ts'
import { traceWebhooks } from '../telemetry/tracing-webhooks.ts'
import type { WebhookSender } from '../webhooks/send.ts'
import type { Closers } from './closers.ts'
import type { ProcessEvents } from './listeners.ts'
import { readProxy } from './proxy.ts'
import type { ServicesDeps } from './store.ts'

/** The tracing of each part of a process. Without tracing each part stays unchanged. */
export type Traces = {
  jobs<Traced extends Pick<Jobs, 'create' | 'createMany'>>(jobs: Traced): Traced
  sender(sender: WebhookSender): WebhookSender
  /** Null: requests are not traced. */
  request: ReturnType<typeof createRequestTracer> | null
  /** Records each flow that ended; null: off. */
  flow: ReturnType<typeof createFlowTracer> | null
  /** Records each provider batch that ended; null: off. */
  providerBatch: ReturnType<typeof createProviderBatchTracer> | null
  /** Records claimed jobs and their calls. */
  listen(events: Emitter<ProcessEvents>): void
}

const untraced: Traces = {
  jobs: (jobs) => jobs,
  sender: (sender) => sender,
  request: null,
  flow: null,
  providerBatch: null,
  listen: () => {},
}

/** Starts tracing if it is configured. Call it before anything else is opened, because it must close last. */
export async function openTraces(
  { config, log, version }: ServicesDeps,
  role: 'api' | 'worker',
  closers: Closers,
): Promise<Traces> {
  const { endpoint, ...settings } = config.current().tracing
  if (endpoint === undefined) return untraced
  const tracing = await openTracing({
    settings: { ...settings, endpoint },
    version,
    role,
    instance: randomUUID(),
    log,
    proxy: readProxy(config.current()),
    now: Date.now,
  })
  closers.add('the traces', () => tracing.close())
  const open: OpenSpans = new WeakMap()
  return {
    jobs: (jobs) => traceJobs(jobs, tracing),
    sender: (sender) => traceWebhooks(sender, tracing),
    request: createRequestTracer(tracing),
    flow: createFlowTracer(tracing),
    providerBatch: createProviderBatchTracer(tracing),
    listen(events) {
      traceWork(events, tracing, open)
      events.on('call.ended', createCallTracer({ tracing, config: () => config.current(), open }))
    },
  }
}
