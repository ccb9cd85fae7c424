import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import type { ProviderAccess, Submission } from '../deps.ts'
import { ApiError } from '../errors.ts'

/** Bodies whose conversation was found to be their tenant's. */
const checked = new WeakSet<object>()

/** The conversation that a request of type `response` continues; null: none. */
function readConversation(body: JsonObject): string | null {
  const given = body.conversation
  const id = isJsonObject(given) ? given.id : given
  return typeof id === 'string' && id !== '' ? id : null
}

/**
 * Sees to it that a conversation which a request continues is the tenant's, and that its model is asked where the conversation is.
 * Throws `not_found`, as for one that does not exist, and `invalid_request`. Without tenants any conversation may be named.
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
    const message = `body.conversation: is kept by ${provider}, and body.model is asked at ${lanes[0]!.provider}`
    throw new ApiError('invalid_request', message, { param: 'body.conversation' })
  }
  checked.add(body)
}

/** For ways on which nobody looked whose conversation a request continues. Throws `invalid_request`. */
export function refuseUncheckedConversation(type: string, body: JsonObject, hasTenants: boolean): void {
  if (!hasTenants || type !== 'response' || readConversation(body) === null || checked.has(body)) return
  const message = 'body.conversation: is taken by /v1/responses, /v1/jobs and /v1/jobs/bulk alone'
  throw new ApiError('invalid_request', message, { param: 'body.conversation' })
}

function noConversation(): ApiError {
  return new ApiError(
    'not_found',
    'no such conversation: it is not known here, or was last used more than 30 days ago',
    { param: 'body.conversation' },
  )
}
