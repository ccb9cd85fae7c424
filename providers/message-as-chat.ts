import type { JsonObject } from '../lib/json.ts'
import { keepSourcesAt } from '../lib/json-source.ts'
import { createMessageEvents, toMessage } from './chat-to-message-events.ts'
import { type ChatDialect, messageToChat } from './message-to-chat.ts'
import type { ProviderAnswer, ProviderRequest } from './provider.ts'
import { readServedTier } from './read-usage.ts'
import { refuseRequest, UnmappableError } from './unmappable.ts'

/** Nested members that are passed on in the client's own text. */
const PASSED_ON = [
  ['tools', '*', 'input_schema'],
  ['output_config', 'format', 'schema'],
]

/**
 * Serves a call of the Messages API by a chat, for providers without that API. A request that a chat cannot express fails before anything
 * is sent.
 */
export async function answerAsMessage(
  request: ProviderRequest,
  dialect: ChatDialect,
  answerChat: (request: ProviderRequest) => Promise<ProviderAnswer>,
): Promise<ProviderAnswer> {
  const asked = request.body
  for (const path of PASSED_ON) keepSourcesAt(asked, path)
  try {
    const chat: ProviderRequest = { ...request, type: 'chat', body: messageToChat(asked, dialect) }
    if (asked.stream !== true) {
      const answer = await answerChat(chat)
      return answer.ok ? { ...answer, ...tierOf(answer.body), body: toMessage(answer.body, asked) } : answer
    }
    const events = createMessageEvents(asked, (event) => request.onDelta?.(event))
    const answer = await answerChat({ ...chat, onDelta: (chunk) => events.add(chunk) })
    return answer.ok ? { ...answer, ...tierOf(answer.body), body: events.end(answer.body) } : answer
  } catch (error) {
    if (error instanceof UnmappableError) return refuseRequest(error)
    throw error
  }
}

/** A message has no member for the service tier of the chat. */
function tierOf(chat: JsonObject): { servedTier: string | null } {
  return { servedTier: readServedTier(chat) }
}
