import { z } from 'zod'
import { USAGE_NAMES } from '../../history/usage.ts'
import { costSumSchema, listSchema } from '../schemas/common.ts'

const DAY = /^\d{4}-\d{2}-\d{2}$/
const expectedDay = 'expected a day such as 2026-12-01, or an RFC 3339 time'

const isDay = (text: string) =>
  DAY.test(text) && !Number.isNaN(Date.parse(text)) && new Date(text).toISOString().startsWith(text)

const day = z.union([z.string().refine(isDay), z.iso.datetime({ offset: true })], { error: expectedDay })

export const usageQuery = z.object({
  from: day.optional().describe('The first day (UTC), or a time in it. Default: 30 days ago.'),
  to: day
    .optional()
    .describe('The last day (UTC), or a time; midnight is the end of the day before. Default: today.'),
  by: z
    .string()
    .max(64)
    .transform((text) => text.split(','))
    .pipe(
      z.array(
        z.enum(USAGE_NAMES, { error: `expected some of ${USAGE_NAMES.join(', ')}, with commas between` }),
      ),
    )
    .refine((names) => new Set(names).size === names.length, { error: 'expected each name once' })
    .optional()
    .describe('What to group by: some of `day`, `tenant`, `model`, `tier`, `fair_key`. Default: `day`.'),
  top: z.coerce
    .number()
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe('The most entries, the most expensive first. `rest` has the sums of all others.'),
  limit: z.coerce.number().int().min(1).max(10_000).default(1000),
  after: z
    .string()
    .regex(/^\d{1,9}$/, { error: 'expected the last_id of the page before' })
    .optional()
    .describe('The last id of the page before.'),
})

const tokens = z.number().describe("Tokens of the provider's calls.")

export const usageEntrySchema = z
  .object({
    object: z.literal('usage'),
    day: z.string().optional(),
    tenant: z.string().optional(),
    model: z.string().optional().describe('The lane that served it: `provider/model`.'),
    tier: z.string().optional().describe('The service tier that the answers name.'),
    fair_key: z.string().nullable().optional().describe('Null: none, or it cannot be decrypted.'),
    jobs: z.number().describe('Jobs that ended.'),
    failed: z.number(),
    calls: z.number(),
    input_tokens: tokens,
    cached_input_tokens: tokens,
    cache_write_tokens: tokens,
    output_tokens: tokens,
    reasoning_tokens: tokens,
    ...costSumSchema,
    saved_cache_usd: z.number().describe('What cached answers would have cost.'),
    saved_sharing_usd: z.number().describe('What answers to equal jobs under way would have cost.'),
    saved_tiers_usd: z.number().describe('What slower tiers cost less than the standard one.'),
    saved_prompt_cache_usd: z.number().describe("What the providers' prompt caches saved."),
  })
  .meta({ id: 'UsageEntry' })

export const usageListSchema = listSchema(usageEntrySchema).extend({
  rest: usageEntrySchema
    .extend({ entries: z.number().describe('Number of entries that `top` left out.') })
    .nullable()
    .describe('The sums of all entries that `top` left out; null if there are none.')
    .meta({ id: 'UsageRest' }),
  from: z.string(),
  to: z.string(),
})
