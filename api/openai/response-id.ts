import type { Jobs } from '../../jobs/jobs.ts'
import type { JsonObject } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'
import { ApiError } from '../errors.ts'

/** Our ids: a UUID of version 7 without its hyphens. Providers' ids have other forms. */
const OURS = /^resp_([0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15})$/

/** The response id of a job. */
export function toResponseId(jobId: string): string {
  return jobId.replace(/^job_/, 'resp_')
}

/** The job of a response; null for an id that is not ours. */
export function toJobId(responseId: string): string | null {
  const id = OURS.exec(responseId)?.[1]
  return id === undefined ? null : `job_${id}`
}

/** A body for the provider, and what differs for the client. */
export type ProviderBody = {
  body: JsonObject
  previousResponseId?: string
  /** The source that has the previous response. */
  source?: string
}

/**
 * Replaces a `previous_response_id` of ours by the provider's id, so that bodies are equal whichever of the two they name. Other ids pass
 * through. Throws `invalid_request` for an id of ours that is not a finished response of the tenant.
 */
export async function toProviderBody(
  jobs: Pick<Jobs, 'get' | 'attempts'>,
  tenant: string,
  body: JsonObject,
): Promise<ProviderBody> {
  const given = body.previous_response_id
  const jobId = typeof given === 'string' ? toJobId(given) : null
  if (typeof given !== 'string' || jobId === null) return { body }
  const job = await jobs.get(tenant, jobId)
  const id = job?.type === 'response' ? job.result?.id : null
  if (typeof id !== 'string') {
    throw new ApiError('invalid_request', 'body.previous_response_id: is not the id of a finished response', {
      param: 'body.previous_response_id',
    })
  }
  const attempts = (await jobs.attempts(tenant, jobId)) ?? []
  const source = attempts.findLast(({ outcome }) => outcome === 'completed')?.source ?? null
  return {
    body: withMembers(body, { previous_response_id: id }),
    previousResponseId: given,
    ...(source === null ? {} : { source }),
  }
}
