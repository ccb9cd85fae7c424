import { z } from 'zod'
import { parseDuration } from '../../config/units.ts'
import { isTimeZone } from '../../lib/local-time.ts'
import { catchUps, overlaps, RunOutcome, type Schedule, type ScheduleRun } from '../../schedules/schedule.ts'
import { createTimetable, listNext } from '../../schedules/timetable.ts'
import { createFlowSchema } from '../flows/schema.ts'
import { createJobSchema, metadataSchema, timeSchema } from '../jobs/create-schema.ts'

/** Number of upcoming slots that are shown. */
const NEXT_RUNS = 5

const MOST_EVERY = '366d'

const every = z
  .string()
  .refine(
    (text) => {
      const ms = parseDuration(text)
      return ms !== null && ms >= 1000 && ms <= parseDuration(MOST_EVERY)!
    },
    { error: `expected a duration from 1s to ${MOST_EVERY}, such as "15m"` },
  )
  .describe(
    'Instead of `cron`: a duration such as `15m`, counted from `starts_at`, or from the creation of the schedule.',
  )

const members = {
  name: z.string().min(1).max(128).nullish().describe('For people; it need not be unique.'),
  cron: z
    .string()
    .min(1)
    .max(256)
    .nullish()
    .describe(
      'Five fields, six with seconds in front, or `@daily` and its like; local times of `time_zone`.',
    ),
  every: every.nullish(),
  time_zone: z
    .string()
    .max(64)
    .refine(isTimeZone, { error: 'expected the name of a time zone, such as Europe/Berlin' })
    .nullish()
    .describe('Of `cron`. Default `UTC`.'),
  job: createJobSchema
    .nullish()
    .describe(
      'What each slot creates, as `POST /v1/jobs` takes it. The default of its `cache` is `refresh`.',
    ),
  flow: createFlowSchema.nullish().describe('Instead of `job`: what `POST /v1/flows` takes.'),
  overlap: z
    .enum(overlaps)
    .nullish()
    .describe('What happens to a slot while the job of the previous slot is open. Default `allow`.'),
  catch_up: z
    .enum(catchUps)
    .nullish()
    .describe(
      'Which missed slots are made up for: `none`, the `latest`, or `all` (at most 100). Default `latest`.',
    ),
  starts_at: timeSchema.nullish().describe('No slot before. With `every` the first slot.'),
  ends_at: timeSchema.nullish().describe('No slot after.'),
  max_runs: z
    .int()
    .min(1)
    .max(1_000_000_000)
    .nullish()
    .describe('The schedule ends after this many slots have created a job.'),
  paused: z.boolean().nullish().describe('While true no slot is run, nor caught up later.'),
  metadata: metadataSchema.nullish(),
}

/** The body of `POST /v1/schedules`. */
export const createScheduleSchema = z.strictObject(members).meta({ id: 'CreateSchedule' })
export type CreateSchedule = z.output<typeof createScheduleSchema>

/** The body of `PATCH /v1/schedules/{id}`: absent members stay, null resets to the default. */
export const changeScheduleSchema = z.strictObject(members).meta({ id: 'ChangeSchedule' })

const time = z.iso.datetime().describe('RFC 3339, UTC, with milliseconds.')
const outcome = z
  .enum(RunOutcome)
  .describe(
    '`created`: there is a job or flow. `skipped`: the previous one was still open. `missed`: no worker ran it in time. `refused`: see `error`.',
  )
const runError = z.object({ code: z.string(), message: z.string() }).nullable()

const runMembers = {
  scheduled_for: time,
  started_at: time.describe('When it was decided.'),
  outcome,
  job_id: z.string().nullable(),
  flow_id: z.string().nullable(),
  error: runError.describe('Why it was refused.'),
}

export const scheduleRunSchema = z
  .object({
    id: z.string(),
    object: z.literal('schedule.run'),
    trigger: z.enum(['slot', 'manual']),
    ...runMembers,
  })
  .meta({ id: 'ScheduleRun' })

/** An object of a client. Any value passes, because a copy would lose the original text. */
const passedOn = z.unknown().meta({ type: 'object', properties: {}, additionalProperties: {} })

export const scheduleSchema = z
  .object({
    id: z.string(),
    object: z.literal('schedule'),
    name: z.string().nullable(),
    cron: z.string().nullable(),
    every: z.string().nullable(),
    time_zone: z.string(),
    job: passedOn
      .nullable()
      .describe(
        'As you sent it. Null if the schedule creates a flow, or if its encryption key is no longer configured.',
      ),
    flow: passedOn.nullable(),
    overlap: z.enum(overlaps),
    catch_up: z.enum(catchUps),
    starts_at: time.nullable(),
    ends_at: time.nullable(),
    max_runs: z.number().nullable(),
    paused: z.boolean(),
    metadata: z.record(z.string(), z.string()),
    source: z.enum(['api', 'file']).describe('`file`: defined in the configuration, and read-only here.'),
    next_runs: z
      .array(time)
      .describe(
        'The next five slots; of a paused schedule, those that it would have if it were resumed now.',
      ),
    last_run: z.object(runMembers).nullable(),
    runs: z.number().describe('The jobs or flows that it created.'),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: 'Schedule' })

const isoTime = (ms: number) => new Date(ms).toISOString()

/** @param now Unix ms */
export function toScheduleAnswer(schedule: Schedule, now: number): z.input<typeof scheduleSchema> {
  const { target, create, lastRun } = schedule
  return {
    id: schedule.id,
    object: 'schedule',
    name: schedule.name,
    cron: schedule.cron,
    every: schedule.every,
    time_zone: schedule.timeZone,
    job: target === 'job' ? create : null,
    flow: target === 'flow' ? create : null,
    overlap: schedule.overlap,
    catch_up: schedule.catchUp,
    starts_at: schedule.startsAt === null ? null : isoTime(schedule.startsAt),
    ends_at: schedule.endsAt === null ? null : isoTime(schedule.endsAt),
    max_runs: schedule.maxRuns,
    paused: schedule.paused,
    metadata: schedule.metadata,
    source: schedule.declared ? 'file' : 'api',
    next_runs: listUpcoming(schedule, now).map(isoTime),
    last_run: lastRun === null ? null : toRunMembers(lastRun, target),
    runs: schedule.runs,
    created_at: isoTime(schedule.createdAt),
    updated_at: isoTime(schedule.updatedAt),
  }
}

function listUpcoming(schedule: Schedule, now: number): number[] {
  const { nextAt, maxRuns, slotRuns, paused } = schedule
  if (nextAt === null && !paused) return []
  const most = Math.min(NEXT_RUNS, maxRuns === null ? NEXT_RUNS : Math.max(0, maxRuns - slotRuns))
  const timetable = createTimetable(schedule, schedule.createdAt)
  if (nextAt === null) return listNext(timetable, now, most)
  return [nextAt, ...listNext(timetable, Math.max(nextAt, now), most - 1)]
}

export function toRunAnswer(run: ScheduleRun, target: Schedule['target']): z.input<typeof scheduleRunSchema> {
  return {
    id: `run_${run.number}`,
    object: 'schedule.run',
    trigger: run.trigger,
    ...toRunMembers(run, target),
  }
}

function toRunMembers(run: ScheduleRun, target: Schedule['target']) {
  return {
    scheduled_for: isoTime(run.scheduledFor),
    started_at: isoTime(run.startedAt),
    outcome: run.outcome,
    job_id: target === 'job' ? run.made : null,
    flow_id: target === 'flow' ? run.made : null,
    error: run.error,
  }
}
