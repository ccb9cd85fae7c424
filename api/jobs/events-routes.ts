import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError, checkId, notFound } from '../errors.ts'
import { errorResponses } from '../schemas/common.ts'
import { encodeEvents, type SseEvent, sendEventStream } from '../sse.ts'
import { jobEventSchema } from './schema.ts'

export const streamQuery = z.object({
  last_event_id: z.string().optional().describe('For clients that cannot send the header `Last-Event-ID`.'),
})
/** Untyped, because the route writes the answer's text itself. */
const response: unknown = {
  200: { content: { 'text/event-stream': { schema: jobEventSchema } } },
  204: z.undefined().describe('Finished, and nothing came after the event named.'),
  ...errorResponses,
}
const description =
  'Server-sent events: all from the first, then live ones; after `Last-Event-ID` only later ones. ' +
  'The stream ends after the last event there can be; connecting again then answers 204.'

/** Live events of a job or a group. */
export function registerEventRoutes(app: Api, context: RouteContext): void {
  const { jobs } = context.deps.store

  app.get(
    '/v1/jobs/:id/events',
    {
      config: { access: 'read' },
      // HEAD would open a stream that never ends.
      exposeHeadRoute: false,
      schema: {
        tags: ['Events'],
        operationId: 'followJob',
        summary: 'Follow a job',
        description,
        params: z.object({ id: z.string() }),
        querystring: streamQuery,
        response,
      },
    },
    (request, reply) =>
      streamEvents(request, reply, context, 'job', request.query.last_event_id, (cursor, signal) =>
        jobs.follow(tenantOf(request).name, checkId(request.params.id, 'job'), cursor, signal),
      ),
  )

  app.get(
    '/v1/groups/:group/events',
    {
      config: { access: 'read' },
      exposeHeadRoute: false,
      schema: {
        tags: ['Events'],
        operationId: 'followGroup',
        summary: 'Follow every job of a group',
        description,
        params: z.object({ group: z.string() }),
        querystring: streamQuery,
        response,
      },
    },
    (request, reply) =>
      streamEvents(request, reply, context, 'group', request.query.last_event_id, (cursor, signal) =>
        jobs.followGroup(tenantOf(request).name, checkId(request.params.group, 'group'), cursor, signal),
      ),
  )
}

/** Answers with a stream of events, after the one that the client names. */
export async function streamEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  { limits, streams, closing }: RouteContext,
  what: 'job' | 'group' | 'flow',
  queryCursor: string | undefined,
  follow: (
    cursor: string,
    signal: AbortSignal,
  ) => Promise<{ finished: boolean; events: AsyncIterable<SseEvent> } | null>,
): Promise<FastifyReply> {
  const cursor = checkCursor(
    String(request.headers['last-event-id'] ?? queryCursor ?? ''),
    what,
    'Last-Event-ID',
  )
  const signal = abortOnDisconnect(reply, closing, streams.open(request, reply))
  const following = await follow(cursor, signal)
  if (following === null) throw notFound(what)
  if (following.finished) return reply.code(204).send()
  return sendEventStream(reply, encodeEvents(following.events, { heartbeat: limits.heartbeat, signal }))
}

/** Events of a job and of a flow are numbered. Events of a group have ids of a Redis stream. */
const cursorPatterns = { job: /^\d{0,15}$/, flow: /^\d{0,15}$/, group: /^(\d{1,19}(-\d{1,19})?)?$/ }

/** Checks a cursor of a job's or group's events and returns it unchanged. Throws `invalid_request`. `param`: where the cursor was sent. */
export function checkCursor(given: string, what: keyof typeof cursorPatterns, param: string): string {
  if (cursorPatterns[what].test(given)) return given
  throw new ApiError('invalid_request', `${param}: is not the id of an event of this service`, { param })
}
