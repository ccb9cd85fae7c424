import type { FastifyRequest } from 'fastify'
import { type Batch, batchEndpoints } from '../batches/batch.ts'
import type { Tenant } from '../config/tenants.ts'
import type { NewJob } from '../jobs/new-job.ts'
import { tenantDecorator } from './auth.ts'
import type { Api } from './deps.ts'
import type { RequestTrace, TraceRequest } from './request-trace.ts'

const traceDecorator = 'trace'

/** Routes that create jobs, which record their origin. */
const tracedRoutes = new Set<string>([
  '/v1/jobs',
  '/v1/jobs/bulk',
  ...batchEndpoints,
  '/v1/batches',
  '/v1/schedules/:id/run',
  '/v1/flows',
])

/** Traces every request that creates jobs, if tracing is on. Call it after keys are checked, so that strangers cannot write into traces. */
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
      // Also when the client disconnects, and the framework has nothing to answer.
      reply.raw.once('close', () => {
        const tenant = request.getDecorator<Tenant | null>(tenantDecorator)
        const status = reply.raw.headersSent ? reply.raw.statusCode : null
        trace.end({ status, isWhole: reply.raw.writableFinished, tenant: tenant?.name ?? null })
      })
    }
    done()
  })
}

/** The parts of a job's record about the request that created it. */
export function originOf(request: FastifyRequest): Pick<NewJob, 'requestId' | 'trace'> {
  const trace = request.getDecorator<RequestTrace | null>(traceDecorator)
  return { requestId: request.id, ...(trace === null ? {} : { trace: trace.traceparent }) }
}

/** The origin that the jobs of a batch get from it. */
export function originOfBatch({ requestId, trace }: Pick<Batch, 'requestId' | 'trace'>) {
  return { ...(requestId === undefined ? {} : { requestId }), ...(trace === undefined ? {} : { trace }) }
}
