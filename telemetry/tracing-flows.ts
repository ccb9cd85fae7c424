import type { Tracing } from './tracing.ts'

/** The progress of a flow. Times are Unix ms. */
type FlowProgress = {
  tenant: string
  id: string
  requestId: string | null
  /** W3C `traceparent` of the request that created it. */
  trace: string | null
  createdAt: number
  durationMs: number
  /** Null: it is still running. */
  ended: 'completed' | 'failed' | 'cancelled' | null
  errorCode: string | null
}

/**
 * Records each ended flow as a span from its creation on, in the trace of the request that created it. Its jobs belong to that trace
 * themselves. The span is created at the end, because a flow may outlive processes.
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
