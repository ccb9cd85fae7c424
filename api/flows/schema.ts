import { z } from 'zod'
import { keyBudgets } from '../../config/tenants-schema.ts'
import { parseDuration } from '../../config/units.ts'
import { FlowStatus, flowWebhookEvents, StepStatus } from '../../flows/flow.ts'
import { groupSchema, metadataSchema, timeSchema } from '../jobs/create-schema.ts'
import { jobErrorSchema, jobSchema, usageSchema } from '../jobs/schema.ts'
import { shownBudgets } from '../schemas/budgets.ts'
import { costSumSchema, listSchema } from '../schemas/common.ts'

/** Longest wait for a signal, ms. */
const MOST_TIMEOUT_MS = 366 * 24 * 60 * 60 * 1000

const time = z.iso.datetime().describe('RFC 3339, UTC, with milliseconds.')

/** Any JSON value. It passes unchecked, because a copy would lose the original text. */
const anyValue = z.unknown().describe('Any JSON value.')

/** Strings may be one expression, text with expressions, or plain text. */
const expression = `may hold expressions, \`\${{ … }}\``

const stepName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/, {
  error: 'expected 1 to 64 letters, digits, _ or -, beginning with a letter or _',
})

const timeout = z
  .string()
  .refine((text) => (parseDuration(text) ?? 0) >= 1 && parseDuration(text)! <= MOST_TIMEOUT_MS, {
    error: 'expected a duration from "1ms" to "366d", such as "24h"',
  })
  .describe('Default `7d`.')

const onStepFailure = z
  .union([z.enum(['fail', 'skip']), z.strictObject({ value: anyValue })], {
    error: 'expected "fail", "skip" or an object with the member value alone',
  })
  .describe('Default `fail`. `skip`: as if it had not been asked for. `value`: stands for its result.')

const step = z
  .strictObject({
    job: z
      .unknown()
      .meta({ type: 'object', properties: {}, additionalProperties: {} })
      .optional()
      .describe(`What \`POST /v1/jobs\` takes; every string of it ${expression}.`),
    for_each: anyValue
      .optional()
      .describe(
        'A list, or an expression that gives one: one job for each element, which is `item` in the expressions of `job`.',
      ),
    max_in_flight: z
      .int()
      .min(1)
      .nullish()
      .describe('With `for_each`: most jobs of it that are open at once.'),
    allow_failures: z.int().min(0).nullish().describe('With `for_each`: so many may fail. Default 0.'),
    wait_for_signal: z
      .strictObject({ timeout: timeout.nullish() })
      .nullish()
      .describe('Instead of `job`: waits for `POST /v1/flows/{id}/signals/{step}`.'),
    needs: z
      .array(z.string())
      .max(1000)
      .nullish()
      .describe('Steps that have to complete first, besides those that its expressions name.'),
    needs_any: z
      .boolean()
      .nullish()
      .describe('True: the step runs when all the steps it needs have ended and one of them completed.'),
    when: anyValue.optional().describe('An expression; where it comes to false or null the step is skipped.'),
    on_failure: onStepFailure.nullish(),
  })
  .meta({ id: 'FlowStepDefinition' })

const webhook = z.strictObject({
  url: z.string().min(1).max(2048),
  events: z.array(z.enum(flowWebhookEvents)).min(1).max(3).optional().describe('Default: all three.'),
})

/** The body of `POST /v1/flows`. */
export const createFlowSchema = z
  .strictObject({
    name: z.string().min(1).max(128),
    input: anyValue.optional().describe('What expressions read as `input`.'),
    steps: z.record(stepName, step).describe('By name. References and `needs` say what comes before what.'),
    output: anyValue.optional().describe(`What the flow comes to; its strings ${expression}.`),
    on_failure: z
      .enum(['stop', 'continue'])
      .nullish()
      .describe(
        'Default `stop`: the first failed step cancels everything that still runs. `continue`: other branches run to their end.',
      ),
    budget_usd: z
      .number()
      .min(0)
      .max(1e6)
      .nullish()
      .describe('Most that its jobs may cost, those under way included.'),
    budgets: keyBudgets
      .nullish()
      .describe('What its jobs may cost in a day, a week or a month; they wait for the next window.'),
    deadline: timeSchema.nullish().describe('A flow that has not ended by then fails.'),
    webhook: webhook.nullish(),
    group: groupSchema.nullish().describe('Of its jobs that name none themselves.'),
    metadata: metadataSchema.nullish(),
  })
  .meta({ id: 'CreateFlow' })
export type CreateFlow = z.output<typeof createFlowSchema>

const counts = z
  .object({ total: z.number(), completed: z.number(), failed: z.number(), skipped: z.number() })
  .describe('How many of its steps stand how.')

const flowSummarySchema = z
  .object({
    id: z.string(),
    object: z.literal('flow'),
    name: z.string(),
    status: z.enum(FlowStatus),
    step_counts: counts,
    error: jobErrorSchema.nullable(),
    usage: usageSchema.describe('Of all its jobs.'),
    ...costSumSchema,
    budget_usd: z.number().nullable(),
    budgets: shownBudgets,
    deadline: time.nullable(),
    group: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    retries: z.number().describe('How often it was retried.'),
    created_at: time,
    finished_at: time.nullable(),
  })
  .meta({ id: 'FlowSummary' })

const flowStepSchema = z
  .object({
    status: z.enum(StepStatus),
    needs: z
      .array(z.string())
      .describe('Steps that have to end first: those it names, and those its expressions read.'),
    jobs: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
    job_id: z.string().nullable().describe('Of a step with one job.'),
    result: z
      .unknown()
      .describe('With `for_each` a list in the order of the elements, null for one that failed.'),
    result_omitted: z
      .literal(true)
      .optional()
      .describe('The result is too large for this answer: `result_url` has it.'),
    result_url: z.string().optional().describe('The path of its job, or of the jobs of all elements.'),
    signal: z.unknown(),
    error: jobErrorSchema.nullable(),
    started_at: time.nullable(),
    finished_at: time.nullable(),
  })
  .meta({ id: 'FlowStep' })

export const flowSchema = flowSummarySchema
  .extend({ steps: z.record(z.string(), flowStepSchema), output: z.unknown() })
  .meta({ id: 'Flow' })

export const flowListSchema = listSchema(flowSummarySchema).extend({
  scanned: z
    .number()
    .optional()
    .describe(
      'How many flows were read, if the page ended at the limit of flows that a page reads. Continue with `last_id`.',
    ),
})

export const flowStepJobsSchema = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z.object({ index: z.number(), job: jobSchema.nullable().describe('Null: it has none yet.') }),
    ),
    total: z.number(),
    has_more: z.boolean(),
  })
  .meta({ id: 'FlowStepJobs' })

export const flowDefinitionSchema = z
  .object({ object: z.literal('flow.definition'), id: z.string(), definition: z.unknown() })
  .meta({ id: 'FlowDefinition' })

export const flowEventSchema = z
  .object({
    flow_id: z.string(),
    seq: z.number().describe('Counts from 1 within the flow, without gaps.'),
    at: time,
    step: z.string().optional(),
  })
  .catchall(z.unknown())
  .meta({ id: 'FlowEvent', description: 'The `data` of one event. Terminal events carry the whole flow.' })
