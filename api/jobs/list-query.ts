import { z } from 'zod'
import { JobStatus, JobType } from '../../jobs/job.ts'
import type { JobFilter } from '../../jobs/jobs.ts'
import { idPatterns } from '../errors.ts'
import { groupSchema } from './create-schema.ts'
import { searchQuery, searchText, toSearch } from './search-query.ts'

/** Filters for lists of jobs, besides pairs of metadata. */
export const filterQuery = {
  status: z.enum(JobStatus).optional(),
  type: z.enum(JobType).optional(),
  group: groupSchema.optional(),
  lane: searchText(512).optional(),
  schedule: z
    .string()
    .regex(idPatterns.schedule, { error: 'expected the id of a schedule' })
    .optional()
    .describe('Jobs of this schedule.'),
  ...searchQuery,
}

type FilterQuery = { [Name in keyof typeof filterQuery]?: z.output<(typeof filterQuery)[Name]> }

/** Converts a query to a filter for jobs. */
export function toFilter(query: FilterQuery & Record<string, unknown>): JobFilter {
  const { status, type, group, lane, schedule } = query
  return {
    ...(status && { status }),
    ...(type && { type }),
    ...(group !== undefined && { group }),
    ...(lane !== undefined && { lane }),
    ...(schedule !== undefined && { schedule }),
    ...toSearch(query),
  }
}
