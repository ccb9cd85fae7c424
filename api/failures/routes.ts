import { Readable } from 'node:stream'
import { z } from 'zod'
import { mayCall } from '../../config/model-access.ts'
import type { Tenant } from '../../config/tenants.ts'
import type { FailedFilter } from '../../jobs/failed.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError } from '../errors.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { exportLine, exportQuery, failureSchema, redriveAnswer, redriveBody } from './schema.ts'

const tags = ['Failures']

/** Untyped, because the route writes the answer's text itself. */
const exportResponse: unknown = {
  200: { content: { 'application/x-ndjson': { schema: exportLine } } },
  ...errorResponses,
}

/** Failed jobs as a queue of their own: count, retry and export them. */
export function registerFailureRoutes(app: Api, { deps, streams }: RouteContext): void {
  const { jobs } = deps.store

  app.get(
    '/v1/failures',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listFailures',
        summary: 'Count failed jobs by lane and error code',
        description:
          'The most frequent first. A count is reused for five seconds, or longer if there are very many jobs.',
        response: {
          200: listSchema(failureSchema).extend({ total: z.number(), counted_at: z.iso.datetime() }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const { classes, total, counted_at } = await jobs.failures(tenantOf(request).name)
      return { ...toList([], false), data: classes, total, counted_at }
    },
  )

  app.get(
    '/v1/failures/export',
    {
      config: { access: 'read' },
      // HEAD would read all of it for nothing.
      exposeHeadRoute: false,
      schema: {
        tags,
        operationId: 'exportFailures',
        summary: 'Read failed jobs with their requests',
        description:
          'NDJSON, the oldest jobs first, sent as fast as the client reads. `create` of a line is a line for `POST /v1/jobs/bulk`.',
        querystring: exportQuery,
        response: exportResponse,
      },
    },
    async (request, reply) => {
      const { limit, ...members } = request.query
      // The export may take as long as the client likes, so the key has to stay valid to the end.
      const signal = abortOnDisconnect(reply, streams.open(request, reply))
      const lines = encodeLines(jobs.failed(tenantOf(request).name, toFilter(members), limit, signal))
      // The status is chosen after the first job, so that an unavailable store is still a plain 503.
      const first = await lines.next()
      reply.type('application/x-ndjson; charset=utf-8')
      // Reads one line ahead of the client, and none once it has disconnected.
      return reply.send(Readable.from(startWith(first, lines), { highWaterMark: 1, signal }))
    },
  )

  app.post(
    '/v1/jobs/retry',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'redriveJobs',
        summary: 'Queue many failed jobs again',
        body: redriveBody.nullish(),
        response: { 200: redriveAnswer, ...errorResponses },
      },
    },
    async (request) => {
      const { limit, dry_run: isDryRun, ...members } = request.body ?? redriveBody.parse({})
      const tenant = tenantOf(request)
      if (tenant.models !== undefined) requireOneLane(tenant, members.lane)
      const redriven = await jobs.redrive(tenant.name, toFilter(members), {
        limit,
        isDryRun,
      })
      return { ...redriven, dry_run: isDryRun }
    },
  )
}

/** A key that is limited to some models may retry only jobs of one lane that it may call. */
function requireOneLane({ models }: Tenant, lane: string | undefined): void {
  if (lane !== undefined && mayCall(models, lane)) return
  throw new ApiError('forbidden', 'lane: this key is limited to some models; name a lane that it may call', {
    param: 'lane',
  })
}

type FilterMembers = Omit<z.output<typeof exportQuery>, 'limit'>

function toFilter({ error_code, failed_after, failed_before, ...same }: FilterMembers): FailedFilter {
  return {
    ...same,
    ...(error_code === undefined ? {} : { errorCode: error_code }),
    ...(failed_after === undefined ? {} : { failedAfter: Date.parse(failed_after) }),
    ...(failed_before === undefined ? {} : { failedBefore: Date.parse(failed_before) }),
  }
}

async function* encodeLines(lines: AsyncIterable<object>): AsyncGenerator<string> {
  for await (const line of lines) yield `${stringifyLine(line)}\n`
}

async function* startWith(
  first: IteratorResult<string>,
  rest: AsyncGenerator<string>,
): AsyncGenerator<string> {
  if (first.done) return
  yield first.value
  yield* rest
}
