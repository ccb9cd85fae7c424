import { z } from 'zod'

const MOST_DECLARED = 1000

const time = z.iso.datetime({
  offset: true,
  error: 'expected an RFC 3339 time such as "2026-12-01T00:00:00Z", in quotes',
})

const declared = z.strictObject({
  tenant: z.string().optional().describe('The tenant. Leave it out if no tenants are configured.'),
  name: z.string().min(1).max(128).describe('Its name, unique for the tenant.'),
  cron: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe('Five fields, six with seconds first, or "@daily" and similar; local times of time_zone.'),
  every: z
    .string()
    .optional()
    .describe('Instead of cron: a duration such as "15m", counted from starts_at, or from its first start.'),
  time_zone: z.string().optional().describe('Of cron, such as Europe/Berlin. Default UTC.'),
  job: z
    .looseObject({
      type: z.string().describe('A job type, such as chat or embedding.'),
      body: z
        .looseObject({ model: z.string().describe('A lane "provider/model", or an alias.') })
        .describe("The request body of the provider's endpoint of that type."),
    })
    .optional()
    .describe('The job that each slot creates, as for POST /v1/jobs.'),
  flow: z.looseObject({}).optional().describe('Instead of job: a flow, as for POST /v1/flows.'),
  overlap: z
    .enum(['allow', 'skip', 'cancel_previous'])
    .optional()
    .describe('What happens to a slot while the previous job is open. Default allow.'),
  catch_up: z
    .enum(['none', 'latest', 'all'])
    .optional()
    .describe('Which missed slots are made up for. Default latest.'),
  starts_at: time.optional().describe('No slot before.'),
  ends_at: time.optional().describe('No slot after.'),
  max_runs: z.int().min(1).optional().describe('The schedule ends after this many slots have created a job.'),
  paused: z.boolean().optional().describe('While true, no slot runs. Default false.'),
  metadata: z.record(z.string(), z.string()).optional().describe('Up to 16 pairs of strings.'),
})

/** Schedules in the file. services/declared-schedules.ts checks their jobs and flows in the same way as the API. */
export const schedulesSchema = z.array(declared).max(MOST_DECLARED)
