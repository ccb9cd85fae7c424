import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { FlowStatus } from '../../flows/flow.ts'
import type { FlowView } from '../../flows/view.ts'
import { readAnyJson } from '../any-json.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, checkId, notFound } from '../errors.ts'
import { parseIdempotencyKey } from '../idempotency-key.ts'
import { streamEvents, streamQuery } from '../jobs/events-routes.ts'
import { keyReused, refuseWithoutMemory } from '../jobs/refusals.ts'
import { deliverySchema } from '../jobs/schema.ts'
import { originOf } from '../origin.ts'
import { errorResponses, listSchema, pageQuery, toList } from '../schemas/common.ts'
import { checkFlow } from './check-flow.ts'
import {
  createFlowSchema,
  flowDefinitionSchema,
  flowEventSchema,
  flowListSchema,
  flowSchema,
  flowStepJobsSchema,
} from './schema.ts'

const tags = ['Flows']
const idParams = z.object({ id: z.string() })
const stepParams = z.object({ id: z.string(), step: z.string() })
const listQuery = z.object({
  status: z.enum(FlowStatus).optional(),
  name: z.string().min(1).max(128).optional(),
  ...pageQuery('flow'),
})
const jobsQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  from: z.coerce.number().int().min(0).default(0).describe('The first element of the page.'),
})

/** Untyped, because the route writes the answer's text itself. */
const eventResponses: unknown = {
  200: { content: { 'text/event-stream': { schema: flowEventSchema } } },
  204: z.undefined().describe('Finished, and nothing came after the event named.'),
  ...errorResponses,
}

/** Creates, reads and controls flows: steps that use one another's results. */
export function registerFlowRoutes(app: Api, context: RouteContext): void {
  const { deps } = context
  const { flows } = deps.store
  const idOf = (request: FastifyRequest) => checkId((request.params as { id: string }).id, 'flow')

  async function read(tenant: string, id: string): Promise<FlowView> {
    const flow = await flows.get(tenant, id)
    if (flow === null) throw notFound('flow')
    return flow
  }

  app.post(
    '/v1/flows',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createFlow',
        summary: 'Create a flow',
        description:
          'Steps whose jobs use the results of others. Everything is checked before anything runs. With an `Idempotency-Key` the same payload is ' +
          'the same flow.',
        body: createFlowSchema,
        response: { 200: flowSchema, 202: flowSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request)
      const idempotencyKey = parseIdempotencyKey(request.headers['idempotency-key'])
      const flow = await checkFlow(tenant, request.body, deps, { idempotencyKey })
      await refuseWithoutMemory(deps)
      const outcome = await flows.create({ ...flow, ...originOf(request) })
      if (outcome.kind === 'conflict') throw keyReused()
      if (outcome.kind === 'full') {
        throw new ApiError(
          'queue_full',
          `as many flows are open as a tenant may have (flows.max_open: ${flow.mostOpen}); wait for some to finish`,
        )
      }
      const isReplayed = outcome.kind === 'replayed'
      if (isReplayed) reply.header('idempotent-replayed', 'true')
      return reply
        .code(isReplayed ? 200 : 202)
        .header('location', `/v1/flows/${outcome.id}`)
        .send(await read(tenant.name, outcome.id))
    },
  )

  app.get(
    '/v1/flows',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listFlows',
        summary: 'List flows, newest first',
        description: 'Without their steps. Go on with `last_id` for as long as `has_more` is true.',
        querystring: listQuery,
        response: { 200: flowListSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after, ...filter } = request.query
      const page = await flows.list(tenantOf(request).name, filter, limit, after)
      return {
        ...toList(page.data, page.hasMore),
        last_id: page.cursor,
        ...(page.scanned !== null && { scanned: page.scanned }),
      }
    },
  )

  app.get(
    '/v1/flows/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getFlow',
        summary: 'Get a flow',
        description:
          'Results over 64 KiB are left out (`result_omitted`), as are results that would make the answer larger than 4 MiB; `result_url` has them.',
        params: idParams,
        response: { 200: flowSchema, ...errorResponses },
      },
    },
    async (request) => read(tenantOf(request).name, idOf(request)),
  )

  app.get(
    '/v1/flows/:id/definition',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getFlowDefinition',
        summary: 'Get the definition of a flow',
        params: idParams,
        response: { 200: flowDefinitionSchema, ...errorResponses },
      },
    },
    async (request) => {
      const id = idOf(request)
      const definition = await flows.definition(tenantOf(request).name, id)
      if (definition === null) throw notFound('flow')
      return { object: 'flow.definition' as const, id, definition }
    },
  )

  app.get(
    '/v1/flows/:id/steps/:step/jobs',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listFlowStepJobs',
        summary: 'List the jobs of a step, with their results',
        description: 'In the order of the elements, from `from` on.',
        params: stepParams,
        querystring: jobsQuery,
        response: { 200: flowStepJobsSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { from, limit } = request.query
      const tenant = tenantOf(request).name
      const found = await flows.stepJobs(tenant, idOf(request), request.params.step, { from, limit })
      if (found === null) throw notFound('step')
      const data = found.jobs.map((job, at) => ({ index: from + at, job }))
      return { object: 'list' as const, data, total: found.total, has_more: from + data.length < found.total }
    },
  )

  app.get(
    '/v1/flows/:id/events',
    {
      config: { access: 'read' },
      // HEAD would open a stream that never ends.
      exposeHeadRoute: false,
      schema: {
        tags: ['Events'],
        operationId: 'followFlow',
        summary: 'Follow a flow',
        description:
          'Server-sent events: all from the first, then live ones; after `Last-Event-ID` only later ones. ' +
          'The stream ends when the flow does; connecting again then answers 204.',
        params: idParams,
        querystring: streamQuery,
        response: eventResponses,
      },
    },
    (request, reply) =>
      streamEvents(request, reply, context, 'flow', request.query.last_event_id, (cursor, signal) =>
        flows.follow(tenantOf(request).name, idOf(request), cursor, signal),
      ),
  )

  app.post(
    '/v1/flows/:id/cancel',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'cancelFlow',
        summary: 'Cancel a flow',
        description: 'Ends it at once; its jobs that have not ended are cancelled.',
        params: idParams,
        response: { 200: flowSchema, ...errorResponses },
      },
    },
    async (request) => {
      const tenant = tenantOf(request).name
      const outcome = await flows.cancel(tenant, idOf(request))
      if (outcome === 'none') throw notFound('flow')
      const flow = await read(tenant, idOf(request))
      if (outcome === 'over') throw new ApiError('not_cancellable', `the flow is already ${flow.status}`)
      return flow
    },
  )

  app.post(
    '/v1/flows/:id/retry',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'retryFlow',
        summary: 'Retry a failed or cancelled flow',
        description:
          'Starts at the failed steps: completed steps are not run again. Its deadline no longer applies.',
        params: idParams,
        response: { 200: flowSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name: tenant, models } = tenantOf(request)
      const own = deps.tenants.keyring().named(tenant)?.models
      // Its steps may call what the key that created it may call.
      if (models !== undefined && models.length > (own?.length ?? 0))
        throw new ApiError('forbidden', 'a key that is limited to some models cannot retry a flow')
      const outcome = await flows.retry(tenant, idOf(request))
      if (outcome === 'none') throw notFound('flow')
      const flow = await read(tenant, idOf(request))
      if (outcome === 'not_retryable') {
        throw new ApiError(
          'not_retryable',
          `only failed and cancelled flows can be retried; this one is ${flow.status}`,
        )
      }
      return flow
    },
  )

  app.post(
    '/v1/flows/:id/signals/:step',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'signalFlow',
        summary: 'Signal a step that waits',
        description: 'The body is any JSON; it becomes `steps.<step>.signal`. A second signal is a 409.',
        params: stepParams,
        body: z.unknown().describe('Any JSON value.'),
        response: { 200: flowSchema, ...errorResponses },
      },
    },
    async (request) => {
      const tenant = tenantOf(request).name
      const { step } = request.params
      const value = readAnyJson(request)
      const most = deps.config().flows.max_signal
      if (Buffer.byteLength(JSON.stringify(value)) > most) {
        throw new ApiError('payload_too_large', `a signal may have at most ${most} bytes (flows.max_signal)`)
      }
      const outcome = await flows.signal(tenant, idOf(request), step, value)
      if (outcome === 'none') throw notFound('flow')
      if (outcome === 'unknown_step') throw notFound('step')
      if (outcome === 'no_signal') {
        throw new ApiError('invalid_request', `path.step: ${step} does not wait for a signal`, {
          param: 'path.step',
        })
      }
      if (outcome === 'again') {
        throw new ApiError('already_signalled', `${step} already has its signal, or no longer waits for one`)
      }
      const flow = await read(tenant, idOf(request))
      if (outcome === 'over') throw new ApiError('not_signallable', `the flow is already ${flow.status}`)
      return flow
    },
  )

  app.get(
    '/v1/flows/:id/deliveries',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listFlowDeliveries',
        summary: 'List the webhook deliveries of a flow',
        params: idParams,
        response: { 200: listSchema(deliverySchema), ...errorResponses },
      },
    },
    async (request) => {
      const deliveries = await flows.deliveries(tenantOf(request).name, idOf(request))
      if (deliveries === null) throw notFound('flow')
      return toList(deliveries, false)
    },
  )

  app.delete(
    '/v1/flows/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteFlow',
        summary: 'Delete a flow',
        description:
          'Also deletes all its jobs, and cancels open ones first: prompts, results and events are removed from the store.',
        params: idParams,
        response: {
          200: z.object({ id: z.string(), object: z.literal('flow'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const id = idOf(request)
      if (!(await flows.remove(tenantOf(request).name, id))) throw notFound('flow')
      return { id, object: 'flow' as const, deleted: true as const }
    },
  )
}
