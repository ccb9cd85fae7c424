import { z } from 'zod'
import { duration } from './schema-parts.ts'

const MOST_RULES = 100

const rule = z.strictObject({
  error_codes: z.array(z.string().min(1).max(128)).min(1).describe('Values of error.code of failed jobs.'),
  lanes: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('Lanes "provider/model" of the jobs. Default: all lanes.'),
  after: duration({ min: '1s' })
    .prefault('1h')
    .describe('How long after each failure the job is queued again. Less than jobs.retain.'),
  max_times: z
    .int()
    .min(1)
    .max(100)
    .prefault(3)
    .describe('How often a job is queued again in total. After that it stays failed.'),
})

/** Rules for failed jobs that are retried automatically. */
export const redriveSchema = z.array(rule).max(MOST_RULES)
