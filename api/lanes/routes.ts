import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { toLine } from '../../tenants/registry.ts'
import { actorOf, callerOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { laneSchema } from './schema.ts'

const pauseBody = z
  .strictObject({
    for_ms: z.int().min(1).optional().describe('Duration of the pause; absent: until resumed.'),
    reason: z.string().min(1).max(200).optional(),
  })
  .nullish()

/** Which lanes: all of a provider, or these. */
const manyLanes = {
  provider: z.string().min(1).max(256).optional().describe('All lanes of this provider.'),
  lanes: z
    .array(z.string().min(1).max(512))
    .min(1)
    .max(1_000)
    .optional()
    .describe('These lanes, as `provider/model`, instead of `provider`.'),
}
const pauseManyBody = z.strictObject({
  ...manyLanes,
  for_ms: z.int().min(1).optional().describe('Duration of the pause; absent: until resumed.'),
  reason: z.string().min(1).max(200).optional(),
})
const resumeManyBody = z.strictObject(manyLanes)

const tags = ['Lanes']
const laneParams = z.object({
  lane: z.string().describe('`provider/model`, with its slash as `/` or as `%2F`.'),
})
/** The lane's id with unescaped slashes, and what follows it. */
const pathParams = z.object({ '*': z.string() })
const access = { access: 'admin' } as const

/** Reads and controls lanes, for operators. */
export function registerLaneRoutes(app: Api, { deps }: RouteContext): void {
  const { lanes } = deps

  async function find(id: string) {
    const lane = await lanes.get(id)
    if (lane === null) throw notFound('lane')
    return lane
  }

  async function pause(request: FastifyRequest, id: string, body: z.output<typeof pauseBody>) {
    const reason = body?.reason ?? 'paused by hand'
    if (!(await lanes.pause(id, body?.for_ms ?? null, reason))) throw notFound('lane')
    const lane = await find(id)
    request.log.info({ lane: lane.id, tenant: callerOf(request).name, reason }, 'lane paused by hand')
    const changes = { paused: { from: null, to: { for_ms: body?.for_ms ?? null, reason } } }
    await deps.tenants.registry.note(toLine(actorOf(request), 'lane.pause', { lane: lane.id }, changes))
    return lane
  }

  async function resume(request: FastifyRequest, id: string, body: unknown) {
    if (body) throw new ApiError('invalid_request', 'body: resume takes no body', { param: 'body' })
    if (!(await lanes.resume(id))) throw notFound('lane')
    const lane = await find(id)
    request.log.info({ lane: lane.id, tenant: callerOf(request).name }, 'lane resumed by hand')
    await deps.tenants.registry.note(toLine(actorOf(request), 'lane.resume', { lane: lane.id }))
    return lane
  }

  /** Of named lanes all exist, or nothing is done. */
  async function findMany({ provider, lanes: named }: z.output<typeof resumeManyBody>): Promise<string[]> {
    if ((provider === undefined) === (named === undefined))
      throw new ApiError('invalid_request', 'body: name either a provider or lanes', { param: 'body' })
    if (named !== undefined) {
      const ids = [...new Set(named)]
      const found = await Promise.all(ids.map((id) => lanes.get(id)))
      const unknown = ids.filter((_, index) => found[index] === null)
      if (unknown.length > 0)
        throw new ApiError('not_found', `lanes: no such lane: ${unknown.join(', ')}`, { param: 'lanes' })
      return ids
    }
    const ids = (await lanes.list()).flatMap((lane) => (lane.provider === provider ? [lane.id] : []))
    if (ids.length === 0) throw notFound('lane')
    return ids
  }

  app.post(
    '/v1/lanes/pause',
    {
      config: access,
      schema: {
        tags,
        operationId: 'pauseLanes',
        summary: 'Pause all lanes of a provider, or several lanes',
        description:
          'Of a provider: its configured lanes, and its lanes of models `"*"` that have work. If one of `lanes` is unknown, none is paused. ' +
          'The pause applies to every process and survives restarts. Calls under way continue.',
        body: pauseManyBody,
        response: { 200: listSchema(laneSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { for_ms, reason, ...which } = request.body
      const body = { for_ms, reason }
      const ids = await findMany(which)
      return toList(await Promise.all(ids.map((id) => pause(request, id, body))), false)
    },
  )

  app.post(
    '/v1/lanes/resume',
    {
      config: access,
      schema: {
        tags,
        operationId: 'resumeLanes',
        summary: 'Resume all lanes of a provider, or several lanes',
        description: 'Ends pauses by hand, by a 429 or by the breaker.',
        body: resumeManyBody,
        response: { 200: listSchema(laneSchema), ...errorResponses },
      },
    },
    async (request) => {
      const ids = await findMany(request.body)
      return toList(await Promise.all(ids.map((id) => resume(request, id, null))), false)
    },
  )

  app.get(
    '/v1/lanes',
    {
      config: access,
      schema: {
        tags,
        operationId: 'listLanes',
        summary: 'List lanes',
        response: { 200: listSchema(laneSchema), ...errorResponses },
      },
    },
    async () => toList(await lanes.list(), false),
  )

  app.get(
    '/v1/lanes/:lane',
    {
      config: access,
      schema: {
        tags,
        operationId: 'getLane',
        summary: 'Get a lane',
        params: laneParams,
        response: { 200: laneSchema, ...errorResponses },
      },
    },
    (request) => find(request.params.lane),
  )

  app.post(
    '/v1/lanes/:lane/pause',
    {
      config: access,
      schema: {
        tags,
        operationId: 'pauseLane',
        summary: 'Pause a lane',
        description: 'The pause applies to every process and survives restarts. Calls under way continue.',
        params: laneParams,
        body: pauseBody,
        response: { 200: laneSchema, ...errorResponses },
      },
    },
    (request) => pause(request, request.params.lane, request.body),
  )

  app.post(
    '/v1/lanes/:lane/resume',
    {
      config: access,
      schema: {
        tags,
        operationId: 'resumeLane',
        summary: 'Resume a lane',
        description: 'Ends a pause by hand, by a 429 or by the breaker. It takes no body.',
        params: laneParams,
        response: { 200: laneSchema, ...errorResponses },
      },
    },
    (request) => resume(request, request.params.lane, request.body),
  )

  // The same for ids with unescaped slashes.
  app.get(
    '/v1/lanes/*',
    {
      config: access,
      schema: { hide: true, params: pathParams, response: { 200: laneSchema, ...errorResponses } },
    },
    (request) => find(request.params['*']),
  )
  app.post(
    '/v1/lanes/*',
    {
      config: access,
      schema: {
        hide: true,
        params: pathParams,
        body: pauseBody,
        response: { 200: laneSchema, ...errorResponses },
      },
    },
    (request) => {
      const path = request.params['*']
      const slash = path.lastIndexOf('/')
      const [id, action] = [path.slice(0, slash), path.slice(slash + 1)]
      if (action === 'pause') return pause(request, id, request.body)
      if (action === 'resume') return resume(request, id, request.body)
      throw notFound('route')
    },
  )
}
