import { z } from 'zod'
import { JobType } from '../../jobs/job.ts'
import { bulkLineSchema, groupSchema, timeSchema } from '../jobs/create-schema.ts'
import { jobSchema } from '../jobs/schema.ts'
import { searchText } from '../jobs/search-query.ts'

const maxJobs = 100_000

/** Filters for failed jobs. */
const filter = {
  group: groupSchema.optional(),
  lane: searchText(512).optional(),
  error_code: searchText(128).optional(),
  type: z.enum(JobType).optional(),
  failed_after: timeSchema.optional().describe('Failed at this time or later.'),
  failed_before: timeSchema.optional().describe('Failed before this time.'),
}

const limit = z.int().min(1).max(maxJobs)

export const redriveBody = z.strictObject({
  ...filter,
  limit: limit.default(10_000).describe('At most so many, the oldest jobs first.'),
  dry_run: z.boolean().default(false).describe('Count them, and change nothing.'),
})

export const redriveAnswer = z
  .object({
    retried: z.number().describe('How many were queued again; none in a dry run.'),
    failed: z
      .number()
      .optional()
      .describe(
        'How many were not queued because of an error in Sluice, if any; they are still failed jobs.',
      ),
    matched: z.number().describe('How many failed jobs the filter names, up to `limit`.'),
    dry_run: z.boolean(),
  })
  .meta({ id: 'Redrive' })

export const exportQuery = z.object({
  ...filter,
  limit: z.coerce.number().pipe(limit).default(maxJobs).describe('At most so many, the oldest jobs first.'),
})

export const failureSchema = z
  .object({
    lane: z.string(),
    code: z.string().describe('The `error.code` of these jobs.'),
    count: z.number(),
    first_at: z.iso.datetime().describe('When the first of them failed.'),
    last_at: z.iso.datetime().describe('When the last of them failed.'),
    retryable: z.boolean().describe('Whether the last of them may do better when it is tried again.'),
  })
  .meta({ id: 'Failure' })

export const exportLine = z
  .object({
    job: jobSchema,
    create: bulkLineSchema
      .nullable()
      .describe('What `POST /v1/jobs/bulk` takes for the same job; null where it cannot be decrypted.'),
  })
  .meta({ id: 'FailedJob' })
