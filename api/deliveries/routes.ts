import { z } from 'zod'
import type { FailingPlace } from '../../webhooks/store.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { checkId, notFound } from '../errors.ts'
import { deliverySchema } from '../jobs/schema.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'

const tags = ['Webhooks']
const idParams = z.object({ id: z.string() })

const time = z.iso.datetime()
const endpointSchema = z
  .object({
    url: z.string(),
    delivered: z.number().describe('Attempts with a 2xx answer.'),
    failed: z.number().describe('All other attempts.'),
    last_at: time,
    last_status: z.number().nullable(),
    last_error: z.string().nullable(),
    failing_since: time.nullable().describe('Null: the latest attempt was delivered.'),
  })
  .meta({ id: 'WebhookEndpoint' })

/** A delivery moves in the list when it is tried again, so a page continues after a position, not after an id. */
const failingCursor = z
  .string()
  .regex(/^\d{1,15}:whd_[A-Za-z0-9_-]{1,96}$/, { error: 'expected the last_id of the page before' })

function toPlace(text: string): FailingPlace {
  const colon = text.indexOf(':')
  return { at: Number(text.slice(0, colon)), id: text.slice(colon + 1) }
}

/** Webhook deliveries of jobs. */
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
      const deliveries = await deps.store.jobs.deliveries(
        tenantOf(request).name,
        checkId(request.params.id, 'job'),
      )
      if (deliveries === null) throw notFound('job')
      return toList(deliveries, false)
    },
  )

  app.get(
    '/v1/deliveries',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listFailingDeliveries',
        summary: 'List failing webhook deliveries',
        description:
          'Of all jobs and flows, the latest attempt first: deliveries that are tried again (`pending`) and those that were given up (`failed`). The latest 1,000 are kept. A delivery that is tried again between two pages moves to the beginning.',
        querystring: z.object({
          status: z.enum(['pending', 'failed']).optional(),
          limit: z.coerce.number().int().min(1).max(1000).default(100),
          after: failingCursor.optional().describe('The `last_id` of the page before.'),
        }),
        response: { 200: listSchema(deliverySchema), ...errorResponses },
      },
    },
    async (request) => {
      const { status = null, limit, after } = request.query
      const page = await deps.store.webhooks.failing(
        tenantOf(request).name,
        status,
        limit,
        after === undefined ? undefined : toPlace(after),
      )
      const cursors = page.places.map(({ at, id }) => `${at}:${id}`)
      return {
        ...toList(page.deliveries, page.hasMore),
        first_id: cursors[0] ?? null,
        last_id: cursors.at(-1) ?? null,
      }
    },
  )

  app.get(
    '/v1/webhook-endpoints',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listWebhookEndpoints',
        summary: 'List the addresses that webhooks went to',
        description:
          'The latest 200, without their queries, with the outcomes of the attempts to send there. An address is removed after 30 days without an attempt.',
        response: { 200: listSchema(endpointSchema), ...errorResponses },
      },
    },
    async (request) => ({
      ...toList([], false),
      data: await deps.store.webhooks.endpoints(tenantOf(request).name),
    }),
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
      const delivery = await deps.store.jobs.redeliver(
        tenantOf(request).name,
        checkId(request.params.id, 'delivery'),
      )
      if (delivery === null) throw notFound('delivery')
      return reply.code(202).send(delivery)
    },
  )
}
