import { z } from 'zod'
import { isTerminal } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError, checkId, notFound } from '../errors.ts'
import { parseFairKey, withFairKey } from '../fair-key.ts'
import { parseIdempotencyKey, parseIdempotencyPolicy } from '../idempotency-key.ts'
import { requireOwnConversation } from '../openai/own-state.ts'
import { originOf } from '../origin.ts'
import { parsePreferWait } from '../prefer.ts'
import { errorResponses, listSchema, pageQuery, toList } from '../schemas/common.ts'
import { acceptOrRetry, replayHeaders } from './accept.ts'
import { createJobSchema } from './create-schema.ts'
import { filterQuery, toFilter } from './list-query.ts'
import { requirePermitted } from './permitted-models.ts'
import { attemptSchema, jobListSchema, jobRequestSchema, jobSchema } from './schema.ts'
import { METADATA_PREFIX } from './search-query.ts'
import { toNewJob } from './submit.ts'

const maxWaitSeconds = 60

const tags = ['Jobs']
const idParams = z.object({ id: z.string() })
const waitQuery = z.object({
  wait: z.coerce
    .number()
    .min(0)
    .max(maxWaitSeconds)
    .optional()
    .describe('Waits up to this many seconds until the job is finished. `Prefer: wait=N` does the same.'),
})
const listQuery = z.looseObject({
  ...filterQuery,
  ...pageQuery('job'),
  include: z
    .literal('result')
    .optional()
    .describe('Include results, up to 4 MB a page; the jobs after those have `result_omitted: true`.'),
})

/** Creates, reads and controls single jobs. */
export function registerJobRoutes(app: Api, { deps, closing }: RouteContext): void {
  const { jobs } = deps.store

  app.post(
    '/v1/jobs',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createJob',
        summary: 'Create a job',
        description:
          'Answers 202, or 200 if the job is already finished. With an `Idempotency-Key` the same payload is the same job, ' +
          'also when it failed; `Idempotency-Key-Policy: retry-failed` then queues it again.',
        body: createJobSchema,
        response: { 200: jobSchema, 202: jobSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const key = parseIdempotencyKey(request.headers['idempotency-key'])
      const create = withFairKey(request.body, parseFairKey(request.headers['x-fair-key']))
      await requireOwnConversation(tenantOf(request).name, create.type, create.body as JsonObject, deps)
      const newJob = { ...toNewJob(tenantOf(request), create, key, deps), ...originOf(request) }
      const policy = parseIdempotencyPolicy(request.headers['idempotency-key-policy'])
      const { job, isReplayed, isRetried } = await acceptOrRetry(newJob, policy, deps)
      if (isReplayed) reply.headers(replayHeaders(job))
      const isDone = (isReplayed && !isRetried) || isTerminal(job.status)
      return reply
        .code(isDone ? 200 : 202)
        .header('location', `/v1/jobs/${job.id}`)
        .send(job)
    },
  )

  app.get(
    '/v1/jobs/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getJob',
        summary: 'Get a job, or wait for it',
        params: idParams,
        querystring: waitQuery,
        response: { 200: jobSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request).name
      const id = checkId(request.params.id, 'job')
      const preferred = parsePreferWait(request.headers.prefer, maxWaitSeconds)
      const seconds = request.query.wait ?? preferred ?? 0
      const job =
        seconds > 0
          ? await jobs.wait(tenant, id, seconds * 1000, abortOnDisconnect(reply, closing))
          : await jobs.get(tenant, id)
      if (job === null) throw notFound('job')
      if (request.query.wait === undefined && preferred !== null) {
        reply.header('preference-applied', `wait=${preferred}`)
      }
      return reply.send(job)
    },
  )

  app.get(
    '/v1/jobs',
    {
      config: { access: 'read', queryPrefix: METADATA_PREFIX },
      schema: {
        tags,
        operationId: 'listJobs',
        summary: 'List jobs, newest first',
        description:
          'Without results: a job with a result has `result_omitted`. Continue with `last_id` as long as `has_more` is true, ' +
          'also after a page that is not full: a page looks at 10,000 jobs at most. ' +
          '`metadata.NAME=VALUE`, up to 16 of them, finds jobs with these pairs.',
        querystring: listQuery,
        response: { 200: jobListSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { limit, after, include } = request.query
      const page = await jobs.list(tenantOf(request).name, toFilter(request.query), limit, {
        after,
        withResults: include === 'result',
        signal: abortOnDisconnect(reply, closing),
      })
      return {
        ...toList(page.data, page.hasMore),
        last_id: page.cursor,
        ...(page.scanned !== null && { scanned: page.scanned }),
        ...(include && { omitted_results: page.data.filter((job) => job.result_omitted).length }),
      }
    },
  )

  app.get(
    '/v1/jobs/:id/attempts',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listAttempts',
        summary: 'List every call made for a job',
        params: idParams,
        response: { 200: listSchema(attemptSchema), ...errorResponses },
      },
    },
    async (request) => {
      const attempts = await jobs.attempts(tenantOf(request).name, checkId(request.params.id, 'job'))
      if (attempts === null) throw notFound('job')
      return { ...toList([], false), data: attempts }
    },
  )

  app.get(
    '/v1/jobs/:id/request',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getJobRequest',
        summary: 'Get the request of a job',
        params: idParams,
        response: { 200: jobRequestSchema, ...errorResponses },
      },
    },
    async (request) => {
      const id = checkId(request.params.id, 'job')
      const found = await jobs.getRequest(tenantOf(request).name, id)
      if (found === null) throw notFound('job')
      return { object: 'job.request' as const, id, body: found.body }
    },
  )

  app.post(
    '/v1/jobs/:id/cancel',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'cancelJob',
        summary: 'Cancel a job',
        description: 'A queued job ends at once. The call of a running job is aborted on any worker.',
        params: idParams,
        response: { 200: jobSchema, ...errorResponses },
      },
    },
    async (request) => {
      const outcome = await jobs.cancel(tenantOf(request).name, checkId(request.params.id, 'job'))
      if (outcome === null) throw notFound('job')
      if (outcome.kind === 'terminal') {
        throw new ApiError('not_cancellable', `the job is already ${outcome.job.status}`)
      }
      return outcome.job
    },
  )

  app.post(
    '/v1/jobs/:id/retry',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'retryJob',
        summary: 'Queue a failed or cancelled job again',
        params: idParams,
        response: { 200: jobSchema, ...errorResponses },
      },
    },
    async (request) => {
      const tenant = tenantOf(request)
      const id = checkId(request.params.id, 'job')
      if (tenant.models !== undefined) {
        const job = await jobs.get(tenant.name, id)
        if (job === null) throw notFound('job')
        requirePermitted(tenant, job.model, deps)
      }
      const outcome = await jobs.retry(tenant.name, id)
      if (outcome === null) throw notFound('job')
      if (outcome.kind === 'budget_exhausted')
        throw new ApiError(
          'budget_exhausted',
          'a budget of the window that the job was accepted in has no room for it',
        )
      if (outcome.kind === 'not_retryable') {
        throw new ApiError(
          'not_retryable',
          `only failed and cancelled jobs can be retried; this one is ${outcome.job.status}`,
        )
      }
      return outcome.job
    },
  )

  app.delete(
    '/v1/jobs/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteJob',
        summary: 'Delete a job',
        description: 'Its prompt, result and events are deleted from the store.',
        params: idParams,
        response: {
          200: z.object({ id: z.string(), object: z.literal('job'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const id = checkId(request.params.id, 'job')
      if (!(await jobs.remove(tenantOf(request).name, id))) throw notFound('job')
      return { id, object: 'job' as const, deleted: true as const }
    },
  )
}
