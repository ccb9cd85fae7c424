import type { FastifyRequest } from 'fastify'
import { type Batch, batchEndpoints } from '../batches/batch.ts'
import type { Tenant } from '../config/tenants.ts'
import type { NewJob } from '../jobs/jobs.ts'
import { tenantDecorator } from './auth.ts'
import type { Api } from './deps.ts'
import type { RequestTrace, TraceRequest } from './request-trace.ts'

const traceDecorator = 'trace'

/** Requests that make jobs; of the others no job tells where it came from. */
const tracedRoutes = new Set<string>([
  '/v1/jobs',
  '/v1/jobs/bulk',
  ...batchEndpoints,
  '/v1/batches',
  '/v1/schedules/:id/run',
  '/v1/flows',
])

/**
 * Traces every request that makes jobs, if tracing is on. Call it after keys are checked, because strangers must not write
 * into anybody's traces.
 */
export function addTracing(app: Api, traceRequest: TraceRequest | null): void {
  app.decorateRequest<RequestTrace | null>(traceDecorator, null)
  if (traceRequest === null) return
  app.addHook('onRequest', (request, reply, done) => {
    const route = request.routeOptions.url
    if (request.method === 'POST' && route !== undefined && tracedRoutes.has(route)) {
      const { traceparent, tracestate } = request.headers
      const trace = traceRequest({
        id: request.id,
        method: request.method,
        route,
        traceparent: typeof traceparent === 'string' ? traceparent : undefined,
        tracestate: typeof tracestate === 'string' ? tracestate : undefined,
      })
      request.setDecorator<RequestTrace | null>(traceDecorator, trace)
      // Also where the client goes away, and the framework has nothing to answer.
      reply.raw.once('close', () => {
        const tenant = request.getDecorator<Tenant | null>(tenantDecorator)
        const status = reply.raw.headersSent ? reply.raw.statusCode : null
        trace.end({ status, isWhole: reply.raw.writableFinished, tenant: tenant?.name ?? null })
      })
    }
    done()
  })
}

/** What a job's record says of the request that made it. */
export function originOf(request: FastifyRequest): Pick<NewJob, 'requestId' | 'trace'> {
  const trace = request.getDecorator<RequestTrace | null>(traceDecorator)
  return { requestId: request.id, ...(trace === null ? {} : { trace: trace.traceparent }) }
}

/** What the jobs of a batch have of it. */
export function originOfBatch({ requestId, trace }: Pick<Batch, 'requestId' | 'trace'>) {
  return { ...(requestId === undefined ? {} : { requestId }), ...(trace === undefined ? {} : { trace }) }
}
