import { z } from 'zod'
import { isTimeZone } from '../lib/local-time.ts'
import { tenantKeyPattern } from './key-digest.ts'
import { cacheModeSchema } from './provider-schema.ts'
import { count, namePattern } from './schema-parts.ts'

const windowBudget = z.strictObject({
  usd: z.number().min(0).max(1_000_000).describe('USD that may be spent in a window.'),
  per: z.enum(['day', 'week', 'month']).describe('The window; a week begins on Monday.'),
  time_zone: z
    .string()
    .refine(isTimeZone, { error: 'expected the name of a time zone, such as Europe/Berlin' })
    .prefault('UTC')
    .describe('Where days begin at midnight. Default UTC.'),
})

export const keyBudgets = z.array(windowBudget).max(10)

/** Budgets of a group, which may also be for its whole lifetime. */
export const groupBudgets = z
  .array(
    windowBudget.extend({
      per: z
        .enum(['day', 'week', 'month', 'total'])
        .prefault('total')
        .describe('The window; a week begins on Monday. Default `total`: as long as the group exists.'),
    }),
  )
  .max(10)

export const tenantLimits = z.strictObject({
  requests_per_minute: count()
    .optional()
    .describe('Jobs per minute that the tenant may submit. Default: no limit.'),
  max_queued: count().optional().describe('Open jobs the tenant may have. Default: jobs.max_queued.'),
  max_schedules: count().optional().describe('Schedules the tenant may have. Default: jobs.max_schedules.'),
  budget_usd_per_day: z
    .number()
    .min(0)
    .optional()
    .describe('USD that the tenant may spend per UTC day. Default: no limit.'),
  budgets: keyBudgets
    .optional()
    .describe('USD that the tenant may spend per day, week or month. Default: no limit.'),
})

export const fairKeyLimits = z.strictObject({
  max_running: count()
    .optional()
    .describe('How many calls of one fair key may run at once. Default: no limit.'),
  max_queued: count()
    .optional()
    .describe('How many open jobs one fair key may have. Default: as many as its tenant.'),
  requests_per_minute: count()
    .optional()
    .describe('Calls of one fair key that may begin per minute. Default: no limit.'),
  budget_usd_per_day: z
    .number()
    .min(0)
    .optional()
    .describe('USD that each fair key may spend per UTC day. Default: no limit.'),
  budgets: keyBudgets
    .optional()
    .describe('USD that each fair key may spend per day, week or month. Default: no limit.'),
})

const tenantKey = z.string().regex(tenantKeyPattern, {
  error: 'expected a key of at least 16 characters without spaces, or "sha256:" and 64 hex digits',
})

export const modelPatterns = z
  .array(
    z.string().regex(/^\P{Cc}{1,256}$/u, {
      error: 'expected a lane, an alias, or a pattern such as "openai/*"',
    }),
  )
  .min(1)
  .max(100)

/** Settings of every tenant, whether it comes from the file or from the API. */
export const tenantSettings = z.strictObject({
  cache: z
    .strictObject({
      mode: cacheModeSchema
        .prefault('exact')
        .describe(
          '"off": every job of the tenant makes its own call, and no answer is cached. Default exact.',
        ),
    })
    .prefault({})
    .describe('Whether equal jobs of the tenant may share an answer.'),
  weight: z
    .number()
    .min(0.001)
    .max(1000)
    .prefault(1)
    .describe("The tenant's share of a busy lane, relative to the weights of the others. Default 1."),
  limits: tenantLimits.prefault({}).describe('The limits of the tenant.'),
  per_fair_key: fairKeyLimits
    .optional()
    .describe('The limits of each fair key (`fair_key` of a job, such as an end user). Default: no limits.'),
  models: modelPatterns
    .optional()
    .describe('Models the tenant may call: lanes, aliases, or patterns such as "openai/*". Default: all.'),
})

export const tenantSchema = z.strictObject({
  ...tenantSettings.shape,
  keys: z
    .array(tenantKey)
    .min(1)
    .describe(
      'Keys of the tenant: plain, at least 16 characters, or "sha256:" and the hex digest. Several are valid at the same time, for rotation.',
    ),
  admin: z
    .union([z.boolean(), z.literal('read')])
    .prefault(false)
    .describe(
      'true: may use the operations routes, and act as any tenant. "read": may read everything that an administrator may read, but change nothing. Default false.',
    ),
})

export const tenantName = z.string().regex(namePattern, {
  error: 'a name starts with a letter or a digit and has letters, digits and . _ - only, 64 at the most',
})

export const budgetsSchema = z.strictObject({
  unknown_price: z
    .enum(['allow', 'refuse'])
    .prefault('allow')
    .describe(
      '"refuse": a job that counts against a budget is refused if its model has no price. "allow": it is accepted, and counts against no budget. Default allow.',
    ),
})
