import { z } from 'zod'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'

const number = z.number().nullable()
const counted = { requests: number, tokens: number, input_tokens: number, output_tokens: number }

const laneSchema = z
  .object({
    id: z.string().describe('`provider/model`'),
    object: z.literal('lane'),
    provider: z.string(),
    model: z.string(),
    kind: z.string(),
    limits: z
      .object({
        ...counted,
        requests_per_day: number,
        concurrency: number,
        window_ms: z.number(),
        headroom: z.number(),
      })
      .describe('As configured, a minute; null: no limit.'),
    learned: z
      .object({ requests: number, tokens: number })
      .describe('Limits that the provider reported, where lower than the configured ones.'),
    rates: z.object(counted).describe('What leaves at most a minute, before `speed`.'),
    speed: z.number().describe('Share of the rate in use; below 1 while the lane recovers from a 429.'),
    levels: z
      .object(counted)
      .describe('Level of each bucket; below 0 is a debt that the refill pays off first.'),
    utilisation: z.number().describe('Used share of what the window may hold, by the fullest dimension.'),
    used: z.object(counted).describe("Taken in the provider's window up to now."),
    backlog: z
      .object({ waiting: z.number(), delayed: z.number(), held: z.number() })
      .describe('Jobs that wait, that are due later, and that workers hold.'),
    in_flight: z.number().describe('Calls under way.'),
    paused_until: z.string().nullable(),
    paused_reason: z.string().nullable(),
    waiting_for: z.string().nullable(),
    breaker: z.object({ state: z.enum(['closed', 'open', 'half_open']), failures: z.number() }),
    latency_ms: z.object({ p50: number, p95: number }).describe('Of the last 256 calls.'),
    throttled: z.number().describe('429s since the lane was first used.'),
  })
  .meta({ id: 'Lane' })

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
      const done =
        action === 'pause'
          ? await lanes.pause(id, request.body?.for_ms ?? null, request.body?.reason ?? 'paused by hand')
          : await lanes.resume(id)
      const lane = done ? await lanes.get(id) : null
      if (lane === null) throw notFound('lane')
      return lane
    },
  )
}
