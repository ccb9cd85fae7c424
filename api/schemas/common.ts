import { z } from 'zod'
import { JobStatus } from '../../jobs/job.ts'
import { type ErrorCode, errorTable, idPatterns } from '../errors.ts'

const errorMembersSchema = z
  .object({
    message: z.string().describe('What was wrong, and where.'),
    type: z.string(),
    param: z.string().nullable().describe('The member or header at fault.'),
    code: z.enum(Object.keys(errorTable) as [ErrorCode, ...ErrorCode[]]),
  })
  .meta({ id: 'ErrorMembers' })

/** The shape of every error. */
const errorSchema = z.object({ error: errorMembersSchema }).meta({ id: 'ErrorAnswer' })

/** Error answers of every route, for its `response` schemas. */
export const errorResponses = { '4xx': errorSchema, '5xx': errorSchema }

/** Schema of a list of `entry`. `first_id` and `last_id` are null if it is empty or its entries have no ids. */
export function listSchema<Entry extends z.ZodType>(entry: Entry) {
  return z.object({
    object: z.literal('list'),
    data: z.array(entry),
    has_more: z.boolean(),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
  })
}

/** Wraps entries in a list. */
export function toList<Entry extends { id?: string }>(data: Entry[], hasMore: boolean) {
  return {
    object: 'list' as const,
    data,
    has_more: hasMore,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  }
}

export const bulkAnswerSchema = z
  .union([
    z.object({ index: z.number(), id: z.string(), status: z.string() }),
    z.object({ index: z.number(), error: errorMembersSchema }),
  ])
  .meta({ id: 'BulkAnswer' })

/** Page size, and the entry after which the page begins. */
export function pageQuery(kind: keyof typeof idPatterns) {
  return {
    limit: z.coerce.number().int().min(1).max(1000).default(100),
    after: z
      .string()
      .regex(idPatterns[kind], { error: 'expected the last id of the page before' })
      .optional()
      .describe('The last id of the page before. It may have been deleted since.'),
  }
}

/** Total cost of calls. */
export const costSumSchema = {
  cost_usd: z
    .number()
    .nullable()
    .describe('USD, of the calls whose models have a price. Null: none of them has one.'),
  unpriced_calls: z.number().describe('Calls whose models have no price; their cost is unknown.'),
}

/** A number for each job status. */
export const statusCountsSchema = z.object(
  Object.fromEntries(Object.values(JobStatus).map((status) => [status, z.number()])) as Record<
    JobStatus,
    z.ZodNumber
  >,
)
