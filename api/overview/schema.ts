import { z } from 'zod'
import { BatchStatus } from '../../batches/batch.ts'
import { laneSchema } from '../lanes/schema.ts'
import { costSumSchema, statusCountsSchema } from '../schemas/common.ts'

const time = z.iso.datetime()
const counts = statusCountsSchema

export const tenantSchema = z
  .object({
    id: z.string(),
    weight: z.number(),
    counts,
    max_queued: z.number().nullable(),
    waiting_for_fair_keys: z.number().describe('Queued jobs that wait for the limits of their fair keys.'),
    paused_until: time.nullable().describe('Its calls are held back by hand until then; null: they are not.'),
    paused_reason: z.string().nullable(),
    spent_usd: z.number().describe('In this UTC day.'),
    reserved_usd: z.number().describe('Held for open jobs.'),
    budget_usd_per_day: z.number().nullable(),
    finished_per_minute: z.number(),
    share: z.number().describe('Of what all tenants shown finished over the last minute.'),
  })
  .meta({ id: 'Tenant' })

export const overviewSchema = z
  .object({
    object: z.literal('overview'),
    at: time,
    lanes: z.array(laneSchema),
    tenants: z
      .array(tenantSchema)
      .describe('Of the configuration; at most 200, those with the most open jobs.'),
    tenant_count: z.number().describe('Of the configuration, shown or not.'),
    maintainer: z
      .object({ worker: z.string().describe('Host and process.'), since: time })
      .nullable()
      .describe(
        'The worker that runs the maintenance tasks of all tenants; null for a few seconds after it died.',
      ),
    history: z
      .object({
        status: z.enum(['available', 'unavailable']),
        unavailable_since: time.nullable().describe('As this process or the worker that copies sees it.'),
        fails: z
          .enum(['everything', 'writes'])
          .nullable()
          .describe(
            '`writes`: it answers what it has and takes no finished jobs, for example because its disk is full.',
          ),
        error: z.string().nullable().describe('What the database said.'),
        waiting_jobs: z.number().describe('Ended jobs that are still to be copied to it.'),
        waiting_since: time.nullable().describe('Since when the first of them waits.'),
      })
      .nullable()
      .describe('The database of finished jobs; null: there is none.'),
    groups: z
      .array(
        z.object({
          tenant: z.string(),
          group: z.string(),
          total: z.number(),
          counts,
          ...costSumSchema,
          estimated_finish_at: time.nullable(),
          updated_at: time,
        }),
      )
      .describe('The 20 that changed last, open ones first.'),
    batches: z
      .array(
        z.object({
          tenant: z.string(),
          id: z.string(),
          status: z.enum(BatchStatus),
          created_at: time,
          request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
          estimated_finish_at: time.nullable().describe('At the pace of the last minute it was watched.'),
        }),
      )
      .describe('The newest 20, and as many that are under way.'),
    failures: z
      .array(
        z.object({
          tenant: z.string(),
          lane: z.string(),
          code: z.string(),
          count: z.number(),
          last_at: time,
          retryable: z.boolean().describe('Whether the last of them may do better when it is tried again.'),
        }),
      )
      .describe('Failed jobs that are kept, by error code.'),
    unpriced: z
      .array(
        z.object({
          lane: z.string(),
          budgets: z.array(z.string()).describe('Tenants whose budgets do not see its calls.'),
        }),
      )
      .describe('Lanes of the configuration whose price is not known; the costs of their calls are null.'),
  })
  .meta({ id: 'Overview' })
