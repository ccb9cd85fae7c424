import { z } from 'zod'
import { budgetOwners } from '../../jobs/budgets.ts'

/** Budgets as they were set. */
export const shownBudgets = z.array(
  z.object({ usd: z.number(), per: z.enum(['day', 'week', 'month']), time_zone: z.string() }),
)

/** A budget with its usage. */
export const budgetUsageSchema = z
  .object({
    owner: z.enum(budgetOwners).describe('The kind of owner of the budget.'),
    name: z
      .string()
      .nullable()
      .describe('Id of the key or flow, name of the group, or digest of the fair key; null for the tenant.'),
    usd: z.number(),
    per: z.enum(['day', 'week', 'month', 'total']),
    time_zone: z.string(),
    window_start: z.iso.datetime().nullable().describe('null: it has no windows.'),
    window_end: z.iso.datetime().nullable(),
    spent_usd: z.number(),
    reserved_usd: z.number().describe('What open jobs may cost.'),
  })
  .meta({ id: 'Budget' })
