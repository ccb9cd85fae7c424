import { z } from 'zod'
import type { Api, RouteContext } from '../deps.ts'
import { errorResponses } from '../schemas/common.ts'

/** Untyped, because the answer is text. */
const response: unknown = { 200: { content: { 'text/plain': { schema: z.string() } } }, ...errorResponses }

/** For Prometheus. docs/metrics.md lists the metrics. */
export function registerMetricsRoute(app: Api, { deps }: RouteContext): void {
  app.get(
    '/metrics',
    {
      config: { access: 'metrics' },
      schema: {
        tags: ['Operations'],
        operationId: 'readMetrics',
        summary: 'Metrics of this process and of the store, for Prometheus',
        response,
      },
    },
    async (_request, reply) => {
      const { contentType, text } = await deps.server.metrics.render()
      return reply.header('content-type', contentType).header('cache-control', 'no-store').send(text)
    },
  )
}
