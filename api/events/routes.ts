import { z } from 'zod'
import {
  EventsExpiredError,
  type FollowOptions,
  ForeignCursorError,
  NOW,
  type TenantFollowing,
} from '../../events/events.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError } from '../errors.ts'
import { jobEventSchema } from '../jobs/schema.ts'
import { errorResponses } from '../schemas/common.ts'
import { COMMENT, encodeEvents, formatCursorMark, sendEventStream } from '../sse.ts'
import { eventFilterShape, toFilter } from './schema.ts'

const query = z.object({
  ...eventFilterShape,
  deltas: z
    .enum(['true', 'false'])
    .optional()
    .describe('`true`: with `job.delta`, the chunks of streams. Ask for them from the first connection on.'),
  last_event_id: z
    .string()
    .optional()
    .describe(
      'For clients that cannot send the header `Last-Event-ID`, which goes before it; `now` begins with what happens from now on.',
    ),
})

/** Untyped, because the route writes the answer's text itself. */
const response: unknown = {
  200: { content: { 'text/event-stream': { schema: jobEventSchema } } },
  ...errorResponses,
}

/** All events of a tenant in one stream. */
export function registerTenantEventsRoute(app: Api, { deps, limits, streams, closing }: RouteContext): void {
  app.get(
    '/v1/events',
    {
      config: { access: 'read' },
      // HEAD would open a stream that never ends.
      exposeHeadRoute: false,
      schema: {
        tags: ['Events'],
        operationId: 'followEvents',
        summary: 'Follow all jobs',
        description:
          'Server-sent events of all jobs: those that are kept, from the first, then live ones; after `Last-Event-ID` only later ' +
          'ones, on any API process. The last 100,000 events of the last 24 hours are kept at the least; behind an older cursor ' +
          'this answers 410 with the code `events_expired`. The stream does not end by itself.',
        querystring: query,
        response,
      },
    },
    async (request, reply) => {
      const { deltas, last_event_id, ...asked } = request.query
      const header = request.headers['last-event-id']
      const cursor = (Array.isArray(header) ? header[0] : header) ?? last_event_id ?? ''
      const withDeltas = deltas === 'true'
      const filter = toFilter(asked, withDeltas, 'query.')
      const signal = abortOnDisconnect(reply, closing, streams.open(request, reply))
      const following = await followTenant(
        deps,
        tenantOf(request).name,
        { cursor, filter, withDeltas },
        signal,
      )
      const text = encodeEvents(following.events, {
        heartbeat: limits.heartbeat,
        signal,
        fill: createMarks(following, cursor),
      })
      return sendEventStream(reply, cursor === NOW ? startAt(following.cursor(), text) : text)
    },
  )
}

/** Throws errors for the client: `events_expired`, or `invalid_request` for a foreign cursor. */
export async function followTenant(
  { store: { events } }: Pick<RouteContext['deps'], 'store'>,
  tenant: string,
  options: FollowOptions,
  signal: AbortSignal,
  param = 'Last-Event-ID',
): Promise<TenantFollowing> {
  try {
    return await events.follow(tenant, options, signal)
  } catch (error) {
    if (error instanceof EventsExpiredError) throw eventsExpired(param)
    if (error instanceof ForeignCursorError)
      throw new ApiError('invalid_request', `${param}: is not the id of an event of this service`, { param })
    throw error
  }
}

export function eventsExpired(param: string): ApiError {
  return new ApiError(
    'events_expired',
    `${param}: the events after this one are no longer kept; read the jobs that you need, and start again without it`,
    { param },
  )
}

/** While the filter lets nothing through, a client still gets a cursor to continue from. */
function createMarks(following: TenantFollowing, cursor: string): () => string {
  let told = cursor
  return () => {
    const now = following.cursor()
    if (now === told) return COMMENT
    told = now
    return formatCursorMark(now)
  }
}

async function* startAt(cursor: string, text: AsyncIterable<string>): AsyncGenerator<string> {
  yield formatCursorMark(cursor)
  yield* text
}
