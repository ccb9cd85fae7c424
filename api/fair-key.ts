import { ApiError } from './errors.ts'
import { type CreateJob, fairKeySchema } from './jobs/create-schema.ts'

/**
 * Reads an `x-fair-key` header, UTF-8: the user of the tenant that the job is for. Undefined: none. Throws `invalid_request` without the
 * value, which may be private.
 */
export function parseFairKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const parsed = fairKeySchema.safeParse(Array.isArray(header) ? '' : decodeUtf8(header))
  if (parsed.success) return parsed.data
  throw new ApiError('invalid_request', `x-fair-key: ${parsed.error.issues[0]!.message}`, {
    param: 'x-fair-key',
  })
}

/** Adds the header's fair key to a create object that has none. */
export function withFairKey<Create extends CreateJob>(create: Create, fairKey: string | undefined): Create {
  return fairKey === undefined || create.fair_key !== undefined ? create : { ...create, fair_key: fairKey }
}

/** Node decodes header bytes as Latin-1. */
function decodeUtf8(header: string): string {
  return Buffer.from(header, 'latin1').toString('utf8')
}
