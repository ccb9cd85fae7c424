import type { Tracing } from './tracing.ts'

/** What is told of a flow; times are Unix ms. */
type FlowProgress = {
  tenant: string
  id: string
  requestId: string | null
  /** W3C `traceparent` of the request that made it. */
  trace: string | null
  createdAt: number
  durationMs: number
  /** Null: it still runs. */
  ended: 'completed' | 'failed' | 'cancelled' | null
  errorCode: string | null
}

/**
 * A span for each flow that ended, from its creation on, in the trace of the request that made it; its jobs belong to that trace by
 * themselves. It is made when the flow ends, for a flow outlives processes.
 */
export function createFlowTracer(tracing: Tracing) {
  return ({ tenant, id, requestId, trace, createdAt, ended, errorCode, durationMs }: FlowProgress): void => {
    if (ended === null) return
    const span = tracing.start({
      name: 'flow',
      kind: 'internal',
      parent: trace,
      startedAt: createdAt,
      attributes: {
        'sluice.flow': id,
        'sluice.tenant': tenant,
        'sluice.request_id': requestId ?? undefined,
        'sluice.outcome': ended,
      },
    })
    if (ended === 'failed') span.fail(errorCode ?? 'failed')
    span.end(createdAt + durationMs)
  }
}
