import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { firstChoice, textOf } from './chat-to-response.ts'
import { createArgumentReader } from './tool-arguments.ts'

/** Why an answer ended, in the words of the Messages API. */
const STOP_REASONS: Record<string, string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
}

/**
 * A chat completion as a message. Its id follows from the completion's, so that the same completion gives the same message.
 *
 * @param asked the request of the Messages API
 */
export function toMessage(completion: JsonObject, asked: JsonObject): JsonObject {
  const choice = firstChoice(completion)
  const said = isJsonObject(choice.message) ? choice.message : {}
  const content: JsonObject[] = []
  const reasoning = textOf(said.reasoning_content) || textOf(said.reasoning)
  // The signature is Anthropic's; there is none of another model.
  if (reasoning !== '') content.push({ type: 'thinking', thinking: reasoning, signature: '' })
  const text = textOf(said.content) || textOf(said.refusal)
  if (text !== '') content.push({ type: 'text', text })
  const read = createArgumentReader()
  for (const call of Array.isArray(said.tool_calls) ? said.tool_calls : []) {
    if (isJsonObject(call)) content.push(toToolUse(call, read))
  }
  return {
    ...openMessage(completion),
    content,
    ...toStop(choice, asked),
    usage: toMessageUsage(completion.usage),
  }
}

/** The message as it stands before anything was said. */
export function openMessage(completion: JsonObject): JsonObject {
  return {
    id: `msg_${textOf(completion.id).replace(/^(?:chatcmpl-|msg_)/, '')}`,
    type: 'message',
    role: 'assistant',
    model: completion.model ?? '',
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: toMessageUsage(undefined),
  }
}

/** `stop_reason` and `stop_sequence`. Servers that say which text stopped them say so in `stop_reason` or `matched_stop`. */
export function toStop(choice: JsonObject, asked: JsonObject): JsonObject {
  const finish = textOf(choice.finish_reason) || 'stop'
  const stops = Array.isArray(asked.stop_sequences) ? asked.stop_sequences : []
  const sequence = [choice.stop_reason, choice.matched_stop].find(
    (one) => typeof one === 'string' && stops.includes(one),
  )
  if (sequence !== undefined && finish === 'stop')
    return { stop_reason: 'stop_sequence', stop_sequence: sequence }
  const reason = Object.hasOwn(STOP_REASONS, finish) ? STOP_REASONS[finish]! : 'end_turn'
  return { stop_reason: reason, stop_sequence: null }
}

/** Usage in Anthropic's members, whose `input_tokens` leave out what the prompt cache gave and took. */
export function toMessageUsage(usage: JsonValue | undefined): JsonObject {
  const given = isJsonObject(usage) ? usage : {}
  const details = isJsonObject(given.prompt_tokens_details) ? given.prompt_tokens_details : {}
  const read = countOf(details.cached_tokens) || countOf(given.cache_read_input_tokens)
  const written = countOf(given.cache_creation_input_tokens)
  return {
    input_tokens: Math.max(0, countOf(given.prompt_tokens) - read - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    output_tokens: countOf(given.completion_tokens),
  }
}

function toToolUse(call: JsonObject, read: ReturnType<typeof createArgumentReader>): JsonObject {
  const called = isJsonObject(call.function) ? call.function : {}
  // A model may write what is no JSON object; the client's own check of the input then says so.
  const input = read(called.arguments, 'tool_calls') ?? { arguments: called.arguments ?? null }
  return { type: 'tool_use', id: call.id ?? '', name: called.name ?? '', input }
}

function countOf(value: JsonValue | undefined): number {
  return typeof value === 'number' && value > 0 ? value : 0
}
