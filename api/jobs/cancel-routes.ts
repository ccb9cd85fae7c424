import { z } from 'zod'
import type { OpenFilter } from '../../jobs/cancel-filter.ts'
import { JobType } from '../../jobs/job.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { idPatterns } from '../errors.ts'
import { errorResponses } from '../schemas/common.ts'
import { groupSchema, timeSchema } from './create-schema.ts'

const most = 1_000_000

const cancelBody = z.strictObject({
  status: z.enum(['scheduled', 'queued', 'running']).optional(),
  type: z.enum(JobType).optional(),
  group: groupSchema.optional(),
  lane: z.string().min(1).max(512).optional().describe('The current lane of the job: `provider/model`.'),
  provider: z.string().min(1).max(256).optional().describe('All lanes of this provider.'),
  schedule: z
    .string()
    .regex(idPatterns.schedule, { error: 'expected the id of a schedule' })
    .optional()
    .describe('Jobs of this schedule.'),
  created_after: timeSchema.optional().describe('Created at this time or later.'),
  created_before: timeSchema.optional().describe('Created before this time.'),
  limit: z.int().min(1).max(most).default(100_000).describe('At most so many, the newest jobs first.'),
  dry_run: z.boolean().default(false).describe('Count them, and change nothing.'),
})

const cancelAnswer = z
  .object({
    cancelled: z.number().describe('How many were cancelled; none in a dry run.'),
    failed: z
      .number()
      .optional()
      .describe(
        'How many may not have been cancelled because of an error in Sluice, if any; they are still open.',
      ),
    matched: z.number().describe('How many open jobs the filter names, up to `limit`.'),
    dry_run: z.boolean(),
  })
  .meta({ id: 'BulkCancel' })

/** Cancels many open jobs at once. */
export function registerCancelRoutes(app: Api, { deps }: RouteContext): void {
  app.post(
    '/v1/jobs/cancel',
    {
      config: { access: 'jobs' },
      schema: {
        tags: ['Jobs'],
        operationId: 'cancelJobs',
        summary: 'Cancel many open jobs',
        description:
          'Cancels all open jobs that match the filter, the newest first; without a filter, all. The calls of running jobs are aborted on any ' +
          'worker. Send the request again to continue with jobs that are still open.',
        body: cancelBody.nullish(),
        response: { 200: cancelAnswer, ...errorResponses },
      },
    },
    async (request) => {
      const { limit, dry_run: isDryRun, ...members } = request.body ?? cancelBody.parse({})
      const answer = await deps.store.jobs.cancelMany(tenantOf(request).name, toFilter(members), {
        limit,
        isDryRun,
      })
      return { ...answer, dry_run: isDryRun }
    },
  )
}

type FilterMembers = Omit<z.output<typeof cancelBody>, 'limit' | 'dry_run'>

function toFilter({ created_after, created_before, ...same }: FilterMembers): OpenFilter {
  return {
    ...same,
    ...(created_after === undefined ? {} : { createdAfter: Date.parse(created_after) }),
    ...(created_before === undefined ? {} : { createdBefore: Date.parse(created_before) }),
  }
}
