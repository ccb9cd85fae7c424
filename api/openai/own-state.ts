import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import type { ProviderAccess, Submission } from '../deps.ts'
import { ApiError } from '../errors.ts'

/** Bodies whose conversation was checked to belong to their tenant. */
const checked = new WeakSet<object>()

/** The conversation that a `response` request continues; null: none. */
function readConversation(body: JsonObject): string | null {
  const given = body.conversation
  const id = isJsonObject(given) ? given.id : given
  return typeof id === 'string' && id !== '' ? id : null
}

/**
 * Checks that the conversation a request continues belongs to the tenant, and that its model is called at the provider that stores it.
 * Throws `not_found`, as for an unknown one, and `invalid_request`. Without tenants any conversation may be named.
 */
export async function requireOwnConversation(
  tenant: string,
  type: string,
  body: JsonObject,
  deps: {
    providers: Pick<ProviderAccess, 'state'>
    submission: Pick<Submission, 'resolveModel' | 'hasTenants'>
  },
): Promise<void> {
  const id = type === 'response' ? readConversation(body) : null
  if (id === null) return
  const provider = await deps.providers.state.find(tenant, id)
  if (provider === null && deps.submission.hasTenants()) throw noConversation()
  const lanes = deps.submission.resolveModel(String(body.model))?.lanes ?? []
  if (provider !== null && lanes.length > 0 && lanes[0]!.provider !== provider) {
    const message = `body.conversation: is stored at ${provider}, but body.model is called at ${lanes[0]!.provider}`
    throw new ApiError('invalid_request', message, { param: 'body.conversation' })
  }
  checked.add(body)
}

/** For routes that did not check the owner of the conversation. Throws `invalid_request`. */
export function refuseUncheckedConversation(type: string, body: JsonObject, hasTenants: boolean): void {
  if (!hasTenants || type !== 'response' || readConversation(body) === null || checked.has(body)) return
  const message = 'body.conversation: is accepted only by /v1/responses, /v1/jobs and /v1/jobs/bulk'
  throw new ApiError('invalid_request', message, { param: 'body.conversation' })
}

function noConversation(): ApiError {
  return new ApiError(
    'not_found',
    'no such conversation: it is unknown here, or was last used more than 30 days ago',
    { param: 'body.conversation' },
  )
}
