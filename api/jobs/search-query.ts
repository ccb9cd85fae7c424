import { z } from 'zod'
import type { JobFilter } from '../../jobs/jobs.ts'
import { ApiError } from '../errors.ts'
import { timeSchema } from './create-schema.ts'

/** What stands before the name of a pair of the metadata. */
export const METADATA_PREFIX = 'metadata.'

/** As many pairs as a job may have. */
const MOST_PAIRS = 16

/** A text that databases can compare: PostgreSQL takes none with NUL. */
export const searchText = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .refine((text) => !text.includes('\0'), { error: 'expected a text without NUL' })

/** Its billionths are a whole number of 64 bits. */
const MOST_COST_USD = 1_000_000

/** Parameters by which jobs are searched, beside pairs of the metadata. */
export const searchQuery = {
  model: searchText(512).optional().describe('As the client named it: `provider/model`, or an alias.'),
  error_code: searchText(128).optional(),
  created_after: timeSchema.optional().describe('Created at this time or later.'),
  created_before: timeSchema.optional().describe('Created before this time.'),
  min_cost_usd: z.coerce
    .number()
    .min(0)
    .max(MOST_COST_USD)
    .optional()
    .describe('Jobs that cost this much or more.'),
}

type SearchQuery = { [Name in keyof typeof searchQuery]?: z.output<(typeof searchQuery)[Name]> }

/** What of a query searches: its own parameters, and pairs such as `metadata.user=42`. */
export function toSearch(query: SearchQuery & Record<string, unknown>): JobFilter {
  const { model, error_code, created_after, created_before, min_cost_usd } = query
  const metadata = readMetadata(query)
  return {
    ...(model === undefined ? {} : { model }),
    ...(error_code === undefined ? {} : { errorCode: error_code }),
    ...(created_after === undefined ? {} : { createdAfter: Date.parse(created_after) }),
    ...(created_before === undefined ? {} : { createdBefore: Date.parse(created_before) }),
    ...(min_cost_usd === undefined ? {} : { minCostUsd: min_cost_usd }),
    ...(metadata === null ? {} : { metadata }),
  }
}

function readMetadata(query: Record<string, unknown>): Record<string, string> | null {
  const pairs = Object.entries(query).filter(([name]) => name.startsWith(METADATA_PREFIX))
  for (const [name, value] of pairs) {
    const param = `query.${name.slice(0, 80)}`
    if (typeof value !== 'string')
      throw new ApiError('invalid_request', `${param}: expected one value`, { param })
    if (name === METADATA_PREFIX)
      throw new ApiError('invalid_request', `${param}: expected a name behind the dot`, { param })
  }
  if (pairs.length > MOST_PAIRS) {
    throw new ApiError('invalid_request', `query: expected ${MOST_PAIRS} pairs of metadata at the most`)
  }
  if (pairs.length === 0) return null
  return Object.fromEntries(pairs.map(([name, value]) => [name.slice(METADATA_PREFIX.length), String(value)]))
}
