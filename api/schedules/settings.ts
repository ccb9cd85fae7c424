import { termsOf } from '../../config/key-terms.ts'
import type { Tenant } from '../../config/tenants.ts'
import { CronError } from '../../lib/cron.ts'
import type { JsonObject } from '../../lib/json.ts'
import { keepSourcesAt } from '../../lib/json-source.ts'
import type { Schedule, ScheduleSettings, Target } from '../../schedules/schedule.ts'
import { createTimetable, type Timetable } from '../../schedules/timetable.ts'
import { ApiError } from '../errors.ts'
import type { FlowCheckDeps } from '../flows/check-job.ts'
import { checkScheduledFlow } from './scheduled-flows.ts'
import { checkScheduledJob } from './scheduled-jobs.ts'
import type { CreateSchedule } from './schema.ts'

/**
 * Decides everything about a validated schedule. Throws `invalid_request` with the member's name, and the errors of its job or flow with
 * their paths.
 */
export async function toSettings(
  tenant: Tenant,
  body: CreateSchedule,
  deps: FlowCheckDeps,
): Promise<ScheduleSettings> {
  // The text of the create object is stored.
  for (const path of [['job', 'body'], ['job'], ['flow']]) keepSourcesAt(body, path)
  const target = chooseTarget(body)
  await checkCreate(tenant, body, deps)
  return {
    ...toTiming(body),
    target,
    create: (body.job ?? body.flow) as unknown as JsonObject,
    ...toRules(body),
    ...termsOf(tenant),
  }
}

/** Applies a change to the settings. Null resets a member to its default. */
export async function changeSettings(
  tenant: Tenant,
  schedule: Schedule,
  patch: CreateSchedule,
  deps: FlowCheckDeps,
): Promise<ScheduleSettings> {
  for (const path of [['job', 'body'], ['job'], ['flow']]) keepSourcesAt(patch, path)
  const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined))
  const body = {
    ...toBody(schedule),
    // Each member replaces its alternative.
    ...(patch.cron != null ? { every: null } : {}),
    ...(patch.every != null ? { cron: null } : {}),
    ...(patch.job != null ? { flow: null } : {}),
    ...(patch.flow != null ? { job: null } : {}),
    ...given,
  } as CreateSchedule
  const changesCreate = patch.job !== undefined || patch.flow !== undefined
  if (!changesCreate && schedule.create === null) {
    throw new ApiError(
      'invalid_request',
      `${schedule.target}: what is stored cannot be decrypted; give it anew`,
      {
        param: schedule.target,
      },
    )
  }
  const target = chooseTarget(body)
  // Unchanged members were checked before: if a model left the configuration, the schedule can still be paused.
  if (changesCreate) await checkCreate(tenant, body, deps)
  return {
    ...toTiming(body),
    target,
    create: (body.job ?? body.flow) as unknown as JsonObject,
    ...toRules(body),
    ...termsOf(changesCreate ? tenant : schedule),
  }
}

/** Whether the change may move the next slot. */
export function changesSlots(schedule: Schedule, settings: ScheduleSettings): boolean {
  const names = ['cron', 'every', 'timeZone', 'startsAt', 'endsAt', 'maxRuns', 'paused'] as const
  return names.some((name) => schedule[name] !== settings[name])
}

/** Refuses a schedule that would never run. */
export function requireSlot({ endsAt }: ScheduleSettings, timetable: Timetable, now: number): void {
  if (timetable.next(now) !== null) return
  if (endsAt !== null)
    throw invalid('ends_at', 'the schedule has no slot between now, or starts_at, and then')
  throw invalid('starts_at', 'the schedule has no slot after it, up to the year 9999')
}

function toBody(schedule: Schedule): CreateSchedule {
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())
  return {
    name: schedule.name,
    cron: schedule.cron,
    every: schedule.every,
    time_zone: schedule.timeZone,
    [schedule.target]: schedule.create,
    overlap: schedule.overlap,
    catch_up: schedule.catchUp,
    starts_at: time(schedule.startsAt),
    ends_at: time(schedule.endsAt),
    max_runs: schedule.maxRuns,
    paused: schedule.paused,
    metadata: schedule.metadata,
  }
}

function chooseTarget({ job, flow }: CreateSchedule): Target {
  if (job != null && flow != null) throw invalid('flow', 'give either job or flow, not both')
  if (job == null && flow == null) throw invalid('job', 'is required, or flow in its place')
  return job != null ? 'job' : 'flow'
}

async function checkCreate(
  tenant: Tenant,
  { job, flow }: CreateSchedule,
  deps: FlowCheckDeps,
): Promise<void> {
  if (job != null) checkScheduledJob(tenant, job, deps)
  else if (flow != null) await checkScheduledFlow(tenant, flow, deps)
}

function toTiming(body: CreateSchedule) {
  const { cron = null, every = null } = body
  if (cron !== null && every !== null) throw invalid('every', 'give either cron or every, not both')
  if (cron === null && every === null) throw invalid('cron', 'is required, or every in its place')
  const startsAt = body.starts_at ? Date.parse(body.starts_at) : null
  const endsAt = body.ends_at ? Date.parse(body.ends_at) : null
  if (startsAt !== null && endsAt !== null && endsAt < startsAt)
    throw invalid('ends_at', 'is before starts_at')
  const timing = { cron, every, timeZone: body.time_zone ?? 'UTC', startsAt, endsAt }
  try {
    createTimetable(timing, 0)
  } catch (error) {
    if (error instanceof CronError) throw invalid('cron', error.message)
    throw error
  }
  return timing
}

function toRules(body: CreateSchedule) {
  return {
    name: body.name ?? null,
    overlap: body.overlap ?? 'allow',
    catchUp: body.catch_up ?? 'latest',
    maxRuns: body.max_runs ?? null,
    paused: body.paused ?? false,
    metadata: body.metadata ?? {},
  } as const
}

function invalid(param: string, what: string): ApiError {
  return new ApiError('invalid_request', `${param}: ${what}`, { param })
}
