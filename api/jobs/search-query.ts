import { z } from 'zod'
import type { JobFilter } from '../../jobs/jobs.ts'
import { ApiError } from '../errors.ts'
import { timeSchema } from './create-schema.ts'

/** Prefix of a query parameter that names a pair of metadata. */
export const METADATA_PREFIX = 'metadata.'

/** As many pairs as a job may have. */
const MAX_PAIRS = 16

/** A text that databases can compare: PostgreSQL accepts no NUL. */
export const searchText = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .refine((text) => !text.includes('\0'), { error: 'expected a text without NUL' })

/** In billionths it fits into a 64-bit integer. */
const MAX_COST_USD = 1_000_000

/** Search parameters for jobs, besides pairs of metadata. */
export const searchQuery = {
  model: searchText(512)
    .optional()
    .describe('The model as the client named it: `provider/model`, or an alias.'),
  error_code: searchText(128).optional(),
  created_after: timeSchema.optional().describe('Created at this time or later.'),
  created_before: timeSchema.optional().describe('Created before this time.'),
  min_cost_usd: z.coerce
    .number()
    .min(0)
    .max(MAX_COST_USD)
    .optional()
    .describe('Jobs that cost this much or more.'),
}

type SearchQuery = { [Name in keyof typeof searchQuery]?: z.output<(typeof searchQuery)[Name]> }

/** Converts the search part of a query, with pairs such as `metadata.user=42`, to a filter. */
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
      throw new ApiError('invalid_request', `${param}: expected a name after the dot`, { param })
  }
  if (pairs.length > MAX_PAIRS) {
    throw new ApiError('invalid_request', `query: expected ${MAX_PAIRS} pairs of metadata at most`)
  }
  if (pairs.length === 0) return null
  return Object.fromEntries(pairs.map(([name, value]) => [name.slice(METADATA_PREFIX.length), String(value)]))
}
