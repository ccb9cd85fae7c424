import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { runDigest } from '../../durable/keys.ts'
import { type Begun, MOST_STEPS, type Step } from '../../durable/runs.ts'
import { hashCanonical } from '../../jobs/content-hash.ts'
import type { Job } from '../../jobs/job.ts'
import { longWorkTurn } from '../../lib/breathe.ts'
import { createJobIds } from '../../lib/job-id.ts'
import type { JsonValue } from '../../lib/json.ts'
import { hasLargeSource, keepSourcesAt, stringifyJson } from '../../lib/json-source.ts'
import { readAnyJson } from '../any-json.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { ApiError, checkId, idPatterns, notFound } from '../errors.ts'
import { parseIdempotencyKey } from '../idempotency-key.ts'
import { acceptOrRetry } from '../jobs/accept.ts'
import type { CreateJob } from '../jobs/create-schema.ts'
import { refuseWithoutMemory } from '../jobs/refusals.ts'
import { toNewJob } from '../jobs/submit.ts'
import { originOf } from '../origin.ts'
import { errorResponses, listSchema, pageQuery } from '../schemas/common.ts'
import {
  durableRunSchema,
  durableRunSummarySchema,
  durableSignalSchema,
  durableStepSchema,
  putStepSchema,
  toRunAnswer,
  toRunSummary,
  toStepAnswer,
} from './schema.ts'

const maxWaitSeconds = 60
/** Longest value of a signal, in characters of JSON. */
const maxValue = 1024 * 1024
/** Jobs deleted at the same time. */
const AT_ONCE = 50

/** Ids of runs are in no order, so a page begins behind a place: when a run was created, and its digest. */
const cursor = z
  .string()
  .regex(/^\d{1,15}:[0-9a-f]{32}$/, { error: 'expected the last_id of the page before' })

const tags = ['Durable runs']
const runParams = z.object({ id: z.string() })
const stepParams = z.object({ id: z.string(), name: z.string() })
const waitQuery = z.object({
  wait: z.coerce
    .number()
    .min(0)
    .max(maxWaitSeconds)
    .optional()
    .describe('Hold the answer up to so many seconds until the step is over.'),
})

/** Steps of functions that clients run, and run again after their process died. */
export function registerDurableRoutes(app: Api, { deps, closing }: RouteContext): void {
  const { durable, jobs } = deps.store
  const newId = createJobIds(deps.now)

  app.put(
    '/v1/durable/:id/steps/:name',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'putDurableStep',
        summary: 'Begin a step of a durable run, or get it as it stands',
        description:
          'A step begins once, however often you ask: 201 if this request began it, else 200. A name that stands for ' +
          'another step is a 409, `step_changed`. The run comes to be with its first step, and is kept for `jobs.retain` after it was ' +
          'last asked for and its last job has ended, its jobs as long as it.',
        params: stepParams,
        querystring: waitQuery,
        body: putStepSchema,
        response: { 200: durableStepSchema, 201: durableStepSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const id = checkName(request.params.id, 'id')
      const name = checkName(request.params.name, 'name')
      const { body } = request
      const tenant = tenantOf(request).name
      const { step, job, isNew } =
        body.job === undefined
          ? { ...(await beginWait(tenant, id, name, body)), job: null }
          : await beginJob(request, id, name, body.job)
      return reply
        .code(isNew ? 201 : 200)
        .send(await hold(request.query.wait, request, reply, { id, name, step, job }))
    },
  )

  app.get(
    '/v1/durable/:id/steps/:name',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getDurableStep',
        summary: 'Get a step, or wait for it',
        params: stepParams,
        querystring: waitQuery,
        response: { 200: durableStepSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const id = checkId(request.params.id, 'durable run')
      const name = checkId(request.params.name, 'step')
      const tenant = tenantOf(request).name
      const step = await durable.find(tenant, id, name)
      if (step === null) throw notFound('step')
      const job = step.jobId === null ? null : await jobs.get(tenant, step.jobId)
      return hold(request.query.wait, request, reply, { id, name, step, job })
    },
  )

  app.post(
    '/v1/durable/:id/signals/:name',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'signalDurableRun',
        summary: 'Send a value to a step that waits for it, or will',
        description:
          'Once: a second value is a 409, `already_signalled`, unless it comes with the `Idempotency-Key` of the first. 404 where the run ' +
          'has no step yet.',
        params: stepParams,
        body: z.unknown().describe('Any JSON.'),
        response: { 200: durableSignalSchema, ...errorResponses },
      },
    },
    async (request) => {
      const id = checkId(request.params.id, 'durable run')
      const name = checkName(request.params.name, 'name')
      const value = readValue(request)
      const key = parseIdempotencyKey(request.headers['idempotency-key'])
      await refuseWithoutMemory(deps)
      const { kind, at } = await durable.signal(tenantOf(request).name, id, name, value, key)
      const sent_at = new Date(at).toISOString()
      if (kind === 'none') throw notFound('durable run')
      if (kind === 'full') throw tooMany('signals')
      if (kind === 'other') {
        throw new ApiError('invalid_request', 'path.name: this step does not wait for a signal', {
          param: 'path.name',
        })
      }
      if (kind === 'taken') {
        throw new ApiError('already_signalled', `the step got its signal at ${sent_at}`)
      }
      if (kind === 'late') {
        throw new ApiError('signal_timeout', `the step waited for its signal until ${sent_at}`)
      }
      return { object: 'durable.signal' as const, durable: id, name, sent_at }
    },
  )

  app.get(
    '/v1/durable',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listDurableRuns',
        summary: 'List durable runs, newest first',
        description: 'Without their steps. Listing a run does not keep it.',
        querystring: z.object({ ...pageQuery('durable run'), after: cursor.optional() }),
        response: { 200: listSchema(durableRunSummarySchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after = null } = request.query
      const page = await durable.list(tenantOf(request).name, limit, after)
      return {
        object: 'list' as const,
        data: page.runs.map(toRunSummary),
        has_more: page.hasMore,
        first_id: page.runs[0]?.place ?? null,
        last_id: page.runs.at(-1)?.place ?? null,
      }
    },
  )

  app.get(
    '/v1/durable/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getDurableRun',
        summary: 'Get a durable run with its steps',
        description: 'Without the results of its jobs and the values of its signals.',
        params: runParams,
        response: { 200: durableRunSchema, ...errorResponses },
      },
    },
    async (request) => {
      const tenant = tenantOf(request).name
      const run = await durable.get(tenant, checkId(request.params.id, 'durable run'))
      if (run === null) throw notFound('durable run')
      const ids = run.steps.map(({ jobId }) => jobId ?? '')
      return toRunAnswer(run, await jobs.statuses(tenant, ids))
    },
  )

  app.delete(
    '/v1/durable/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteDurableRun',
        summary: 'Forget a durable run',
        description: 'Deletes its steps, the values of its signals and its jobs from the store.',
        params: runParams,
        response: {
          200: z.object({ id: z.string(), object: z.literal('durable.run'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const tenant = tenantOf(request).name
      const id = checkId(request.params.id, 'durable run')
      const run = await durable.get(tenant, id)
      if (run === null) throw notFound('durable run')
      const ids = run.steps.flatMap(({ jobId }) => jobId ?? [])
      // The run is removed last: one that is partly deleted can be deleted again.
      for (let at = 0; at < ids.length; at += AT_ONCE) {
        await Promise.all(ids.slice(at, at + AT_ONCE).map((job) => jobs.remove(tenant, job)))
      }
      await durable.remove(tenant, id)
      return { id, object: 'durable.run' as const, deleted: true as const }
    },
  )

  async function beginWait(tenant: string, id: string, name: string, body: z.output<typeof putStepSchema>) {
    const { sleep_ms: ms } = body
    if ((await durable.find(tenant, id, name)) === null) await refuseWithoutMemory(deps)
    const begun = await durable.begin(
      tenant,
      id,
      name,
      ms === undefined
        ? { kind: 'signal', timeoutMs: body.signal?.timeout_ms ?? null }
        : { kind: 'sleep', ms },
    )
    return toBegun(begun, name)
  }

  /** A known step is returned even if the configuration has changed. A new one is checked like a job of `POST /v1/jobs`. */
  async function beginJob(request: FastifyRequest, id: string, name: string, create: CreateJob) {
    const tenant = tenantOf(request)
    keepSourcesAt(request.body as object, ['job', 'body'])
    if (hasLargeSource(create.body)) await longWorkTurn()
    const fingerprints = durable.digests(hashCanonical(create as JsonValue))
    const known = await durable.find(tenant.name, id, name)
    if (known?.jobId && fingerprints.includes(known.fingerprint)) {
      const job = await jobs.get(tenant.name, known.jobId)
      if (job !== null) return { step: known, job, isNew: false }
    }
    const newJob = within('job', () => toNewJob(tenant, create, null, deps))
    const { step } = toBegun(
      await durable.begin(tenant.name, id, name, { kind: 'job', fingerprints, jobId: newId() }),
      name,
    )
    const place = { id: step.jobId!, durable: { run: runDigest(id), id, step: name } }
    const accepted = await acceptOrRetry({ ...newJob, ...originOf(request), ...place }, 'replay', deps).catch(
      async (error: unknown) => {
        // Otherwise it is unknown whether the job was created.
        if (error instanceof ApiError) await durable.release(tenant.name, id, name)
        throw placeWithin('job', error)
      },
    )
    return { step, job: accepted.job, isNew: !accepted.isReplayed }
  }

  /** Returns the step when it is over or the time is up. */
  async function hold(
    seconds: number | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
    { id, name, step, job }: { id: string; name: string; step: Step; job: Job | null },
  ) {
    if (seconds === undefined || seconds === 0) return toStepAnswer(id, name, step, job)
    const tenant = tenantOf(request).name
    const gone = abortOnDisconnect(reply, closing)
    if (step.jobId !== null) {
      const ended = await jobs.wait(tenant, step.jobId, seconds * 1000, gone)
      return toStepAnswer(id, name, step, ended)
    }
    const after = await durable.wait(tenant, id, name, seconds * 1000, gone)
    if (after === null) throw notFound('step')
    return toStepAnswer(id, name, after, null)
  }
}

function toBegun(begun: Begun, name: string): { step: Step; isNew: boolean } {
  if (begun.kind === 'changed') {
    const message = `${name}: this step was begun as another; what a step does may not change under its name`
    throw new ApiError('step_changed', message, { param: 'path.name' })
  }
  if (begun.kind === 'full') throw tooMany('steps')
  return { step: begun.step, isNew: begun.kind === 'begun' }
}

function tooMany(what: string): ApiError {
  return new ApiError(
    'exceeds_limit',
    `the run has ${MOST_STEPS.toLocaleString('en')} ${what}, and may have no more`,
    {
      param: 'path.name',
    },
  )
}

/** Clients choose names, so an invalid name is the client's error. */
function checkName(text: string, param: 'id' | 'name'): string {
  if (idPatterns.step.test(text)) return text
  const what = 'expected 1 to 128 characters of printable ASCII, and not . or ..'
  throw new ApiError('invalid_request', `path.${param}: ${what}`, { param: `path.${param}` })
}

function readValue(request: FastifyRequest): JsonValue {
  const value = readAnyJson(request)
  if (stringifyJson(value).length > maxValue) {
    throw new ApiError(
      'payload_too_large',
      `body: the value of a signal has at most ${maxValue} characters`,
      { param: 'body' },
    )
  }
  return value
}

function within<T>(place: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw placeWithin(place, error)
  }
}

/** Errors of a create object name its place in the body. */
function placeWithin(place: string, error: unknown): unknown {
  if (!(error instanceof ApiError) || error.param === null) return error
  const { code, param, message, retryAfterSeconds } = error
  const text = message.startsWith(param) ? `${place}.${message}` : message
  return new ApiError(code, text, {
    param: `${place}.${param}`,
    ...(retryAfterSeconds === null ? {} : { retryAfterSeconds }),
  })
}
