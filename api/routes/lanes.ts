import { z } from 'zod'
import { callerOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { laneSchema } from '../schemas/lane.ts'

const pauseBody = z
  .strictObject({
    for_ms: z.int().min(1).optional().describe('How long; without it until resumed.'),
    reason: z.string().min(1).max(200).optional(),
  })
  .nullish()

const tags = ['Lanes']
/** A lane's id holds a slash, so it is the rest of the path; `%2F` for it is the same. */
const laneParams = z.object({ '*': z.string().describe('`provider/model`') })
const access = { access: 'admin' } as const

/** Reading and steering lanes, for operators. */
export function registerLaneRoutes(app: Api, { deps }: RouteContext): void {
  const { lanes } = deps

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
    '/v1/lanes/*',
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
    async (request) => {
      const lane = await lanes.get(request.params['*'])
      if (lane === null) throw notFound('lane')
      return lane
    },
  )

  app.post(
    '/v1/lanes/*',
    {
      config: access,
      schema: {
        tags,
        operationId: 'steerLane',
        summary: 'Pause or resume a lane',
        description:
          'The path is the lane, then `/pause` or `/resume`. It holds in every process and over restarts.',
        params: laneParams,
        body: pauseBody,
        response: { 200: laneSchema, ...errorResponses },
      },
    },
    async (request) => {
      const path = request.params['*']
      const slash = path.lastIndexOf('/')
      const [id, action] = [path.slice(0, slash), path.slice(slash + 1)]
      if (action !== 'pause' && action !== 'resume') throw notFound('route')
      if (action === 'resume' && request.body) {
        throw new ApiError('invalid_request', 'body: resume takes none', { param: 'body' })
      }
      const reason = request.body?.reason ?? 'paused by hand'
      const done =
        action === 'pause'
          ? await lanes.pause(id, request.body?.for_ms ?? null, reason)
          : await lanes.resume(id)
      const lane = done ? await lanes.get(id) : null
      if (lane === null) throw notFound('lane')
      const line = { lane: lane.id, tenant: callerOf(request).name }
      if (action === 'pause') request.log.info({ ...line, reason }, 'lane paused by hand')
      else request.log.info(line, 'lane resumed by hand')
      return lane
    },
  )
}
