import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { termsOf, underTerms } from '../../config/key-terms.ts'
import type { Tenant } from '../../config/tenants.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { LaunchOrder } from '../../schedules/launch.ts'
import type { Schedule, ScheduleSettings } from '../../schedules/schedule.ts'
import type { NextSlot } from '../../schedules/store.ts'
import { createTimetable } from '../../schedules/timetable.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, checkId, notFound } from '../errors.ts'
import { flowSchema } from '../flows/schema.ts'
import { parseIdempotencyKey } from '../idempotency-key.ts'
import { acceptOrRetry } from '../jobs/accept.ts'
import type { CreateJob } from '../jobs/create-schema.ts'
import { keyReused, refuseWithoutMemory } from '../jobs/refusals.ts'
import { jobSchema } from '../jobs/schema.ts'
import { originOf } from '../origin.ts'
import { errorResponses, listSchema, pageQuery, toList } from '../schemas/common.ts'
import { flowsFull, toScheduledFlow } from './scheduled-flows.ts'
import { toScheduledJob } from './scheduled-jobs.ts'
import {
  changeScheduleSchema,
  createScheduleSchema,
  scheduleRunSchema,
  scheduleSchema,
  toRunAnswer,
  toScheduleAnswer,
} from './schema.ts'
import { changeSettings, changesSlots, requireSlot, toSettings } from './settings.ts'

const tags = ['Schedules']
const idParams = z.object({ id: z.string() })

/** A change that conflicts with another is repeated on the new state, this many times. */
const MAX_TRIES = 5

/** Schedules: jobs or flows created at fixed times or intervals. Workers run them. */
export function registerScheduleRoutes(app: Api, { deps }: RouteContext): void {
  const { schedules } = deps.store

  app.post(
    '/v1/schedules',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'createSchedule',
        summary: 'Create a schedule',
        description:
          'Its job is checked now: what `POST /v1/jobs` would refuse is refused here. With an `Idempotency-Key` the same payload is ' +
          'the same schedule.',
        body: createScheduleSchema,
        response: { 200: scheduleSchema, 201: scheduleSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request)
      const idempotencyKey = parseIdempotencyKey(request.headers['idempotency-key'])
      const settings = await toSettings(tenant, request.body, deps)
      requireSlot(settings, createTimetable(settings, deps.now()), deps.now())
      await refuseWithoutMemory(deps)
      const most = tenant.limits.max_schedules ?? deps.config().jobs.max_schedules
      const next = firstSlot(settings, deps.now())
      const outcome = await schedules.create(tenant.name, settings, { next, idempotencyKey, most })
      if (outcome.kind === 'conflict') throw keyReused()
      if (outcome.kind === 'full') {
        throw new ApiError(
          'too_many_schedules',
          `the tenant has as many schedules as it may (limits.max_schedules: ${most}); delete one, or have the limit raised`,
        )
      }
      if (outcome.kind === 'replayed') reply.header('idempotent-replayed', 'true')
      return reply
        .code(outcome.kind === 'replayed' ? 200 : 201)
        .header('location', `/v1/schedules/${outcome.schedule.id}`)
        .send(toScheduleAnswer(outcome.schedule, deps.now()))
    },
  )

  app.get(
    '/v1/schedules',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listSchedules',
        summary: 'List schedules, newest first',
        description:
          'Continue with `last_id` as long as `has_more` is true, also after a page that is not full: a page has at most 4 MB of jobs.',
        querystring: z.object(pageQuery('schedule')),
        response: { 200: listSchema(scheduleSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after = null } = request.query
      const page = await schedules.list(tenantOf(request).name, { limit, after })
      const now = deps.now()
      return toList(
        page.schedules.map((schedule) => toScheduleAnswer(schedule, now)),
        page.hasMore,
      )
    },
  )

  app.get(
    '/v1/schedules/:id',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getSchedule',
        summary: 'Get a schedule',
        params: idParams,
        response: { 200: scheduleSchema, ...errorResponses },
      },
    },
    async (request) => toScheduleAnswer(await find(tenantOf(request).name, request.params.id), deps.now()),
  )

  app.patch(
    '/v1/schedules/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'changeSchedule',
        summary: 'Change a schedule',
        description:
          'Changes the members that you send; null resets to the default. It takes effect from the next slot; running jobs continue.',
        params: idParams,
        body: changeScheduleSchema,
        response: { 200: scheduleSchema, ...errorResponses },
      },
    },
    async (request) => {
      const tenant = tenantOf(request)
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const schedule = await find(tenant.name, request.params.id)
        if (schedule.declared) throw readOnly()
        const settings = await changeSettings(tenant, schedule, request.body, deps)
        const retime = changesSlots(schedule, settings)
          ? { next: nextSlot(schedule, settings, deps.now()) }
          : null
        const outcome = await schedules.change(schedule, settings, { retime })
        if (outcome.kind === 'none') throw notFound('schedule')
        if (outcome.kind === 'declared') throw readOnly()
        if (outcome.kind === 'changed') return toScheduleAnswer(outcome.schedule, deps.now())
      }
      throw new ApiError('unavailable', 'another request is changing this schedule; try again')
    },
  )

  app.delete(
    '/v1/schedules/:id',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteSchedule',
        summary: 'Delete a schedule',
        description: 'Also deletes its history; its jobs stay.',
        params: idParams,
        response: {
          200: z.object({ id: z.string(), object: z.literal('schedule'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const id = checkId(request.params.id, 'schedule')
      const kind = await schedules.remove(tenantOf(request).name, id)
      if (kind === 'none') throw notFound('schedule')
      if (kind === 'declared') throw readOnly()
      return { id, object: 'schedule' as const, deleted: true as const }
    },
  )

  app.post(
    '/v1/schedules/:id/run',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'runSchedule',
        summary: 'Run a schedule now',
        description: 'Creates its job or flow outside of its slots, also if it is paused, and returns it.',
        params: idParams,
        response: { 202: z.union([jobSchema, flowSchema]), ...errorResponses },
      },
    },
    async (request, reply) => {
      const caller = tenantOf(request)
      const key = parseIdempotencyKey(request.headers['idempotency-key']) ?? randomUUID()
      const schedule = await find(caller.name, request.params.id)
      const tenant = underTerms(caller, termsOf(schedule))
      const { id, create } = schedule
      if (create === null) throw new ApiError('internal_error', 'the schedule cannot be decrypted')
      const scheduledFor = deps.now()
      // Clients cannot send such a key, because it contains line breaks.
      const order = { schedule: id, scheduledFor, idempotencyKey: `${id}\nrun\n${key}`, terms: {} }
      const made =
        schedule.target === 'job'
          ? await runJob(request, tenant, create as CreateJob, order)
          : await runFlow(request, tenant, create, order)
      if (made.isReplayed) reply.header('idempotent-replayed', 'true')
      else await schedules.note(tenant.name, id, { scheduledFor, made: made.value.id })
      return reply.code(202).header('location', `/v1/${schedule.target}s/${made.value.id}`).send(made.value)
    },
  )

  app.get(
    '/v1/schedules/:id/runs',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listScheduleRuns',
        summary: 'List the runs of a schedule, newest first',
        description: 'The latest 500.',
        params: idParams,
        querystring: z.object(pageQuery('run')),
        response: { 200: listSchema(scheduleRunSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after } = request.query
      const { tenant, id, target } = await find(tenantOf(request).name, request.params.id)
      const behind = after === undefined ? null : Number(after.slice('run_'.length))
      const page = await schedules.runs(tenant, id, { limit, after: behind })
      if (page === null) throw notFound('schedule')
      return toList(
        page.runs.map((run) => toRunAnswer(run, target)),
        page.hasMore,
      )
    },
  )

  async function runJob(
    request: FastifyRequest,
    tenant: Tenant,
    create: CreateJob,
    order: Omit<LaunchOrder, 'tenant'>,
  ) {
    const newJob = { ...toScheduledJob(tenant, create, order, deps), ...originOf(request) }
    const { job, isReplayed } = await acceptOrRetry(newJob, 'replay', deps)
    return { value: job, isReplayed }
  }

  async function runFlow(
    request: FastifyRequest,
    tenant: Tenant,
    create: JsonObject,
    order: Omit<LaunchOrder, 'tenant'>,
  ) {
    const flow = await toScheduledFlow(tenant, create, order, deps)
    await refuseWithoutMemory(deps)
    const outcome = await deps.store.flows.create({ ...flow, ...originOf(request) })
    if (outcome.kind === 'conflict') throw keyReused()
    if (outcome.kind === 'full') throw flowsFull(flow)
    const value = await deps.store.flows.get(tenant.name, outcome.id)
    if (value === null) throw notFound('flow')
    return { value, isReplayed: outcome.kind === 'replayed' }
  }

  async function find(tenant: string, id: string): Promise<Schedule> {
    const schedule = await schedules.get(tenant, checkId(id, 'schedule'))
    if (schedule === null) throw notFound('schedule')
    return schedule
  }
}

/** The first slot of a new schedule. An interval without a start counts from the creation, by Redis' clock. */
function firstSlot(settings: ScheduleSettings, now: number): NextSlot {
  const at = createTimetable(settings, now).next(now)
  if (at === null) return null
  return settings.every !== null && settings.startsAt === null ? { inMs: at - now } : { at }
}

function nextSlot(schedule: Schedule, settings: ScheduleSettings, now: number): NextSlot {
  const at = createTimetable(settings, schedule.createdAt).next(now)
  return at === null ? null : { at }
}

function readOnly(): ApiError {
  return new ApiError(
    'read_only',
    'this schedule is defined in the configuration of the service (schedules); change or remove it there',
  )
}
