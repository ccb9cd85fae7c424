import type { JobRequest, Jobs } from '../../jobs/jobs.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { withMembers } from '../../lib/json-source.ts'
import { ApiError } from '../errors.ts'
import { toJobId } from './response-id.ts'

/** Responses of one conversation that are put together at the most. */
const LONGEST_CHAIN = 200

/**
 * Puts the conversation before a request into its input, for providers that keep none: what each earlier response was asked
 * with, and what it said. Earlier `instructions` do not carry over, as at OpenAI. Throws `invalid_request` for an id that is
 * no finished response of the tenant.
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
    // A body without a conversation of its provider's holds all that came before it.
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
