import { keepSourcesAt } from '../lib/json-source.ts'
import { toResponse } from './chat-to-response.ts'
import { createResponseEvents } from './chat-to-response-events.ts'
import type { ProviderAnswer, ProviderRequest } from './provider.ts'
import { toChatBody } from './response-to-chat.ts'
import { refuseRequest, UnmappableError } from './unmappable.ts'

/** Nested members that are passed on in the client's own text. */
const PASSED_ON = [
  ['tools', '*', 'parameters'],
  ['text', 'format', 'schema'],
]

/**
 * Serves a call of the Responses API by a chat, for providers without that API. A request that a chat cannot express fails before anything
 * is sent.
 */
export async function answerAsResponse(
  request: ProviderRequest,
  answerChat: (request: ProviderRequest) => Promise<ProviderAnswer>,
): Promise<ProviderAnswer> {
  const asked = request.body
  for (const path of PASSED_ON) keepSourcesAt(asked, path)
  try {
    const chat: ProviderRequest = { ...request, type: 'chat', body: toChatBody(asked) }
    if (asked.stream !== true) {
      const answer = await answerChat(chat)
      return answer.ok ? { ...answer, body: toResponse(answer.body, asked) } : answer
    }
    const events = createResponseEvents(asked, (event) => request.onDelta?.(event))
    const answer = await answerChat({ ...chat, onDelta: (chunk) => events.add(chunk) })
    return answer.ok ? { ...answer, body: events.end(answer.body) } : answer
  } catch (error) {
    if (error instanceof UnmappableError) return refuseRequest(error)
    throw error
  }
}
