import type { JobRequest, Jobs } from '../../jobs/jobs.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'
import { ApiError } from '../errors.ts'
import { toJobId } from './response-id.ts'

/** Most earlier responses that are inlined. */
const LONGEST_CHAIN = 200

/**
 * Puts the earlier conversation into a request's input, for providers that store none: the input and output of each earlier response. As at
 * OpenAI, earlier `instructions` do not carry over. Throws `invalid_request` for an id that is not a finished response of the tenant.
 */
export async function inlineConversation(
  jobs: Pick<Jobs, 'getRequest'>,
  tenant: string,
  body: JsonObject,
  previousId: string,
): Promise<JsonObject> {
  const turns: JsonValue[][] = []
  let id: string | null = previousId
  for (let length = 0; id !== null; length++) {
    if (length === LONGEST_CHAIN) throw unusable(`is the end of over ${LONGEST_CHAIN} responses`)
    const jobId: string | null = toJobId(id)
    const found: JobRequest | null = jobId === null ? null : await jobs.getRequest(tenant, jobId)
    const output = found?.job.type === 'response' ? found.job.result?.output : undefined
    if (found === null || !Array.isArray(output)) throw unusable('is not the id of a finished response')
    turns.push([...toItems(found.body.input), ...output])
    // If the body has no conversation at the provider, it contains everything before it.
    id = typeof found.body.previous_response_id === 'string' ? found.previousResponseId : null
  }
  const input = [...turns.reverse().flat(), ...toItems(body.input)]
  return withMembers(body, { previous_response_id: undefined, input })
}

function toItems(input: JsonValue | undefined): JsonValue[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  return Array.isArray(input) ? input.filter((item) => isJsonObject(item)) : []
}

function unusable(reason: string): ApiError {
  return new ApiError('invalid_request', `body.previous_response_id: ${reason}`, {
    param: 'body.previous_response_id',
  })
}
