import { z } from 'zod'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { checkId, notFound } from '../errors.ts'
import { deliverySchema } from '../jobs/schema.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'

const tags = ['Webhooks']
const idParams = z.object({ id: z.string() })

/** The outcome of a job's webhooks. */
export function registerDeliveryRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/jobs/:id/deliveries',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listDeliveries',
        summary: "List a job's webhook deliveries",
        params: idParams,
        response: { 200: listSchema(deliverySchema), ...errorResponses },
      },
    },
    async (request) => {
      const deliveries = await deps.jobs.deliveries(tenantOf(request).name, checkId(request.params.id, 'job'))
      if (deliveries === null) throw notFound('job')
      return toList(deliveries, false)
    },
  )

  app.post(
    '/v1/deliveries/:id/redeliver',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'redeliver',
        summary: 'Send a delivery again',
        params: idParams,
        response: { 202: deliverySchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const delivery = await deps.jobs.redeliver(
        tenantOf(request).name,
        checkId(request.params.id, 'delivery'),
      )
      if (delivery === null) throw notFound('delivery')
      return reply.code(202).send(delivery)
    },
  )
}
