import type { Span, Tracing } from './tracing.ts'

type TracedRequest = {
  id: string
  method: string
  route: string
  traceparent: string | undefined
  tracestate: string | undefined
}

/** Records HTTP requests as spans. They continue the caller's trace, or start one. */
export function createRequestTracer(tracing: Tracing) {
  return (request: TracedRequest) => {
    const { method, route } = request
    const span: Span = tracing.start({
      name: `${method} ${route}`,
      kind: 'server',
      parent: request.traceparent,
      state: request.tracestate,
      attributes: {
        'http.request.method': method,
        'http.route': route,
        'url.path': route,
        'url.scheme': 'http',
        'sluice.request_id': request.id,
      },
    })
    return {
      traceparent: span.traceparent,
      end({ status, isWhole, tenant }: { status: number | null; isWhole: boolean; tenant: string | null }) {
        span.set({
          'http.response.status_code': status ?? undefined,
          'sluice.tenant': tenant ?? undefined,
          'sluice.client_gone': isWhole ? undefined : true,
        })
        // A client's error is not a failure of the server.
        if (status !== null && status >= 500) span.fail(String(status))
        span.end()
      },
    }
  }
}
