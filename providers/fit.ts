import type { Lane } from '../config/lanes.ts'
import type { CallType } from '../lib/call-type.ts'
import type { JsonObject } from '../lib/json.ts'
import { toMessagesRequest } from './anthropic-request.ts'
import { hasEndpoint } from './endpoints.ts'
import { chatDialectOf, messageToChat } from './message-to-chat.ts'
import { toChatBody } from './response-to-chat.ts'
import { UnmappableError } from './unmappable.ts'

/** What a lane's provider would do with a request; known before anything is sent. */
export type Fit =
  | { kind: 'serves'; dropped: string[] }
  /** The provider has no endpoint for this type. */
  | { kind: 'unsupported_type'; message: string }
  /** The provider has no counterpart for a member. `param` as in OpenAI's errors: `messages[0].role`. */
  | { kind: 'unsupported_member'; message: string; param: string }

/**
 * Decides from the request alone whether a lane can serve it. Kinds that pass bodies through serve every type that they have an endpoint
 * for; only messages are mapped.
 */
export function judgeFit(
  lane: Pick<Lane, 'kind' | 'model' | 'onUnsupported'>,
  type: CallType,
  body: JsonObject,
): Fit {
  if (!hasEndpoint(lane.kind, type)) {
    return {
      kind: 'unsupported_type',
      message: `providers of kind ${lane.kind} do not serve jobs of type ${type}`,
    }
  }
  if (type === 'message') return judgeMessage(lane.kind, body)
  if (lane.kind !== 'anthropic') return { kind: 'serves', dropped: [] }
  return tryMapping(() => {
    const chat = type === 'response' ? toChatBody(body) : body
    const { model, onUnsupported } = lane
    const { dropped } = toMessagesRequest(chat, { model, defaultMaxTokens: 1, onUnsupported })
    return dropped
  })
}

function judgeMessage(kind: Lane['kind'], body: JsonObject): Fit {
  if (kind === 'anthropic') return { kind: 'serves', dropped: [] }
  return tryMapping(() => {
    messageToChat(body, chatDialectOf(kind))
    return []
  })
}

/** @param map returns the members that are left out */
function tryMapping(map: () => string[]): Fit {
  try {
    return { kind: 'serves', dropped: map() }
  } catch (error) {
    if (!(error instanceof UnmappableError)) throw error
    return { kind: 'unsupported_member', message: error.message, param: error.param }
  }
}
