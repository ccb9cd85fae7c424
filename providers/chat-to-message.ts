import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { firstChoice, textOf } from './chat-to-response.ts'
import { createArgumentReader } from './tool-arguments.ts'

/** Anthropic's stop reason for a chat's finish reason. */
const STOP_REASONS: Record<string, string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
}

/**
 * Converts a chat completion to a message. The id is derived from the completion's: the same completion gives the same message.
 *
 * @param asked the request of the Messages API
 */
export function toMessage(completion: JsonObject, asked: JsonObject): JsonObject {
  const choice = firstChoice(completion)
  const said = isJsonObject(choice.message) ? choice.message : {}
  const content: JsonObject[] = []
  const reasoning = textOf(said.reasoning_content) || textOf(said.reasoning)
  // Only Anthropic signs thinking.
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

/** The message before any content. */
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

/** Returns `stop_reason` and `stop_sequence`. Servers that report the stop sequence do so in `stop_reason` or `matched_stop`. */
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

/** Converts usage to Anthropic's members, whose `input_tokens` exclude tokens read from and written to the prompt cache. */
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
  // A model may write arguments that are not a JSON object. The client's own check of the input then fails.
  const input = read(called.arguments, 'tool_calls') ?? { arguments: called.arguments ?? null }
  return { type: 'tool_use', id: call.id ?? '', name: called.name ?? '', input }
}

function countOf(value: JsonValue | undefined): number {
  return typeof value === 'number' && value > 0 ? value : 0
}
