import { z } from 'zod'
import { flowWebhookEvents } from '../../flows/flow.ts'
import { budgetEvents } from '../../jobs/budget-events.ts'
import { JobStatus, JobType, Priority, Tier } from '../../jobs/job.ts'
import { costSumSchema, listSchema, statusCountsSchema } from '../schemas/common.ts'
import { webhookEventSchema } from './create-schema.ts'

const time = z.iso.datetime().describe('RFC 3339, UTC, with milliseconds.')
const tokens = z.number()

/** An object of a client or a provider. Any value passes, because a copy would lose the original text. */
const passedOn = z.unknown().meta({ type: 'object', properties: {}, additionalProperties: {} })

export const usageSchema = z
  .object({
    input_tokens: tokens,
    cached_input_tokens: tokens.optional().describe('Of the input: read from the prompt cache.'),
    cache_write_tokens: tokens.optional().describe('Of the input: written to the prompt cache.'),
    cache_write_1h_tokens: tokens.optional().describe('Of `cache_write_tokens`: kept for an hour.'),
    audio_input_tokens: tokens.optional().describe('Of the input: audio.'),
    output_tokens: tokens,
    reasoning_tokens: tokens.optional().describe('Of the output: reasoning.'),
    audio_output_tokens: tokens.optional().describe('Of the output: audio.'),
    total_tokens: tokens,
    audio_seconds: z.number().optional(),
    images: tokens.optional().describe('Images that the answer holds.'),
  })
  .describe('As the provider counted. A detail is present if the provider reports it and it is not 0.')
  .meta({ id: 'Usage' })

const waitingFor = z.enum([
  'requests',
  'tokens',
  'concurrency',
  'provider_pause',
  'retry_delay',
  'schedule',
  'budget',
  'provider_batch',
  'fair_key',
  'tenant_pause',
])
const usageIsEstimate = z
  .boolean()
  .describe('True: the provider did not state all of the usage; the rest is estimated.')
const costIsEstimate = z
  .boolean()
  .describe('True: the cost, or a part of it, is estimated, because the provider did not report all counts.')

export const jobErrorSchema = z
  .object({
    code: z.string(),
    message: z.string(),
    provider_status: z.number().nullable(),
    retryable: z.boolean(),
    provider_error: z
      .looseObject({})
      .optional()
      .describe("The provider's own error object, without keys; absent where it gave none."),
  })
  .meta({ id: 'JobError' })

export const jobSchema = z
  .object({
    id: z.string(),
    object: z.literal('job'),
    type: z.enum(JobType),
    status: z.enum(JobStatus),
    model: z.string(),
    lane: z.string(),
    group: z.string().nullable(),
    fair_key: z
      .string()
      .nullable()
      .describe('The user of the tenant that the job is for, as set or by its body; null: none.'),
    durable: z
      .object({ id: z.string(), step: z.string() })
      .optional()
      .describe('The durable run that it belongs to, and its step; absent elsewhere.'),
    flow: z
      .object({ id: z.string(), step: z.string(), index: z.number() })
      .optional()
      .describe('The flow that it belongs to, its step and, with `for_each`, its element; absent elsewhere.'),
    priority: z.enum(Priority),
    tier: z.enum(Tier).describe("The tier it is served at: as set, or the lane's default."),
    served_tier: z
      .string()
      .nullable()
      .describe(
        'The tier that the answer names, which decides the price: `standard`, `flex`, `batch`, `priority` or another name of the provider. Null: no answer yet.',
      ),
    metadata: z.record(z.string(), z.string()),
    created_at: time,
    run_at: time.nullable(),
    started_at: time.nullable(),
    finished_at: time.nullable(),
    deadline: time.nullable(),
    attempts: z.number(),
    max_attempts: z.number(),
    redrives: z.number().describe('How often it was queued again by the configuration after it failed.'),
    next_attempt_at: time.nullable(),
    estimated_start_at: time.nullable(),
    waiting_for: waitingFor.nullable(),
    cache: z.enum(['miss', 'hit', 'shared', 'off']),
    result: passedOn.nullable().describe("The provider's response body as OpenAI shapes it."),
    result_omitted: z
      .literal(true)
      .optional()
      .describe(
        'The job has a result, but this answer leaves it out: `result` is null, and `GET /v1/jobs/{id}` has it. Absent otherwise.',
      ),
    result_url: z.string().optional().describe('Where an omitted result is: the path of the job.'),
    usage: usageSchema.nullable(),
    dropped_members: z
      .array(z.string())
      .describe(
        'Members of the body that the provider does not support, dropped because of `on_unsupported: drop`.',
      ),
    usage_is_estimate: usageIsEstimate,
    cost_usd: z
      .number()
      .nullable()
      .describe('USD for all calls of the job. Null: unknown, or no call has ended.'),
    cost_is_estimate: costIsEstimate,
    prompt_cache_saved_usd: z
      .number()
      .optional()
      .describe("Savings by the provider's prompt cache, compared with plain input; absent: none."),
    error: jobErrorSchema.nullable(),
  })
  .meta({ id: 'Job' })

export const jobListSchema = listSchema(jobSchema).extend({
  scanned: z
    .number()
    .optional()
    .describe(
      'How many jobs were read, if the page ended at the limit of jobs that a page reads. The page may be short; continue with `last_id`.',
    ),
  omitted_results: z
    .number()
    .optional()
    .describe('With `include=result`: how many jobs of this page still have `result_omitted`.'),
})

export const jobRequestSchema = z
  .object({
    object: z.literal('job.request'),
    id: z.string(),
    body: passedOn.describe('As it was submitted; only `model` is replaced for the provider.'),
  })
  .meta({ id: 'JobRequest' })

export const attemptSchema = z
  .object({
    attempt: z.number(),
    provider: z.string(),
    model: z.string(),
    source: z
      .string()
      .nullable()
      .describe('The source that was called; null: the lane has no sources, or the call has not ended.'),
    started_at: time,
    latency_ms: z.number().nullable(),
    outcome: z.enum([
      'running',
      'completed',
      'throttled',
      'retryable',
      'timeout',
      'failed',
      'aborted',
      'lost',
    ]),
    status: z.number().nullable().describe("The provider's HTTP status."),
    error_code: z.string().nullable(),
    tier: z.enum(Tier).describe('The tier that the call asked for.'),
    served_tier: z.string().nullable().describe('The tier that the answer names; null: it has none.'),
    usage: usageSchema.nullable(),
    usage_is_estimate: usageIsEstimate,
    cost_usd: z.number().nullable().describe('Null: unknown, or none.'),
    cost_is_estimate: costIsEstimate,
    waited_ms: z.number(),
    waited_for: waitingFor.nullable(),
    ambiguous: z.boolean().describe('True if it is unknown whether the provider did, and billed, the work.'),
    coalesced: z.number().describe('Number of jobs in the provider request.'),
  })
  .meta({ id: 'Attempt' })

export const deliverySchema = z
  .object({
    id: z.string(),
    job_id: z.string().describe('The id of the job or flow.'),
    event: z.enum([...webhookEventSchema.options, ...flowWebhookEvents, ...budgetEvents]),
    url: z.string(),
    status: z.enum(['pending', 'delivered', 'failed']),
    created_at: time,
    next_attempt_at: time.nullable(),
    attempts: z.array(
      z.object({
        at: time,
        status: z.number().nullable(),
        error: z.string().nullable(),
        latency_ms: z.number(),
        retry_after_ms: z
          .number()
          .optional()
          .describe('How long the receiver asked to wait (`Retry-After`); absent: it did not ask.'),
      }),
    ),
  })
  .meta({ id: 'Delivery' })

export const groupSummarySchema = z.object({
  group: z.string(),
  total: z.number(),
  counts: statusCountsSchema,
  ...costSumSchema,
  estimated_finish_at: time.nullable(),
})

export const groupEntrySchema = groupSummarySchema
  .omit({ estimated_finish_at: true })
  .extend({ updated_at: time.describe('When the status of one of its jobs last changed.') })
  .meta({ id: 'GroupEntry' })

export const jobEventSchema = z
  .object({
    job_id: z.string(),
    seq: z.number().describe('Counts from 1 within the job, without gaps.'),
    at: time,
  })
  .catchall(z.unknown())
  .meta({
    id: 'JobEvent',
    description:
      'The `data` of one event. Terminal events carry the whole job; those of a group without results of over 64 KiB, see `result_omitted`.',
  })
