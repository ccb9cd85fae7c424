import { z } from 'zod'
import { type DurableRun, type DurableRunSummary, isOver, type Step } from '../../durable/runs.ts'
import { type Job, JobStatus } from '../../jobs/job.ts'
import { createJobSchema } from '../jobs/create-schema.ts'
import { jobSchema } from '../jobs/schema.ts'

const mostMs = 366 * 24 * 60 * 60 * 1000

const kind = z.enum(['job', 'sleep', 'signal'])
const status = z.enum(['waiting', 'completed', 'failed', 'cancelled', 'timed_out'])
const time = z.iso.datetime().describe('RFC 3339, UTC, with milliseconds.')

/** The body of `PUT /v1/durable/{id}/steps/{name}`: what the step does. */
export const putStepSchema = z
  .strictObject({
    job: createJobSchema.optional().describe('A create object, as `POST /v1/jobs` takes it.'),
    sleep_ms: z
      .int()
      .min(0)
      .max(mostMs)
      .optional()
      .describe('Over when so much time has passed, by the clock of Redis.'),
    signal: z
      .strictObject({
        timeout_ms: z.int().min(0).max(mostMs).nullish().describe('Given up after this. Default: never.'),
      })
      .optional()
      .describe('Over when `POST /v1/durable/{id}/signals/{name}` has brought a value.'),
  })
  .refine((step) => Object.keys(step).length === 1, { error: 'expected one of job, sleep_ms and signal' })
  .meta({ id: 'PutDurableStep' })

export const durableStepSchema = z
  .object({
    object: z.literal('durable.step'),
    durable: z.string().describe('The id of the run.'),
    name: z.string(),
    kind,
    status,
    created_at: time,
    wake_at: time.nullable().describe('When the sleep is over, or the wait for the signal given up.'),
    left_ms: z.number().nullable().describe('Until `wake_at`, by the clock of Redis; 0 when it is over.'),
    job: jobSchema.nullable().describe('Of a step that is a job; null of one that was not made yet.'),
    value: z.unknown().describe('What was sent as the signal.'),
    sent_at: time.nullable().describe('When the signal was sent.'),
  })
  .meta({ id: 'DurableStep' })

export const durableRunSchema = z
  .object({
    object: z.literal('durable.run'),
    id: z.string(),
    created_at: time,
    steps: z
      .array(
        z.object({
          name: z.string(),
          kind,
          status,
          created_at: time,
          wake_at: time.nullable(),
          sent_at: time.nullable(),
          job_id: z.string().nullable(),
        }),
      )
      .describe('In the order in which they began.'),
  })
  .meta({ id: 'DurableRun' })

export const durableRunSummarySchema = z
  .object({
    object: z.literal('durable.run'),
    id: z.string(),
    created_at: time,
    expires_at: time.describe(
      'Until when it is kept, if its last job has ended by then. Each request for a step and each signal moves it.',
    ),
    step_count: z.number().describe('Steps that began.'),
    signal_count: z.number().describe('Signals that came.'),
  })
  .meta({ id: 'DurableRunSummary' })

export const durableSignalSchema = z
  .object({
    object: z.literal('durable.signal'),
    durable: z.string(),
    name: z.string(),
    sent_at: time,
  })
  .meta({ id: 'DurableSignal' })

/** Converts a step to the form for clients. */
export function toStepAnswer(id: string, name: string, step: Step, job: Job | null) {
  return {
    object: 'durable.step' as const,
    durable: id,
    name,
    kind: step.kind,
    status: statusOf(step, job?.status ?? null),
    created_at: isoTime(step.beganAt),
    wake_at: isoTimeOf(step.until),
    left_ms: step.until === null ? null : Math.max(0, step.until - step.readAt),
    job,
    value: step.signal?.value ?? null,
    sent_at: isoTimeOf(step.signal?.sentAt ?? null),
  }
}

export function toRunSummary(run: DurableRunSummary) {
  return {
    object: 'durable.run' as const,
    id: run.id,
    created_at: isoTime(run.createdAt),
    expires_at: isoTime(run.keptUntil),
    step_count: run.steps,
    signal_count: run.signals,
  }
}

/** @param statuses of the steps' jobs, in order */
export function toRunAnswer(run: DurableRun, statuses: readonly (JobStatus | null)[]) {
  return {
    object: 'durable.run' as const,
    id: run.id,
    created_at: isoTime(run.createdAt),
    steps: run.steps.map((step, index) => ({
      name: step.name,
      kind: step.kind,
      status: statusOf(step, statuses[index] ?? null),
      created_at: isoTime(step.beganAt),
      wake_at: isoTimeOf(step.until),
      sent_at: isoTimeOf(step.signal?.sentAt ?? null),
      job_id: step.jobId,
    })),
  }
}

function statusOf(step: DurableRun['steps'][number] | Step, job: JobStatus | null): z.output<typeof status> {
  if (step.kind !== 'job') {
    if (!isOver(step)) return 'waiting'
    return step.kind === 'sleep' || step.signal !== null ? 'completed' : 'timed_out'
  }
  if (job === JobStatus.completed || job === JobStatus.failed || job === JobStatus.cancelled) return job
  return 'waiting'
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function isoTimeOf(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms)
}
