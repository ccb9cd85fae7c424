import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { packThinking } from './response-thinking.ts'

/** `incomplete_details.reason` for a chat's finish reason. */
const INCOMPLETE: Record<string, string> = { length: 'max_output_tokens', content_filter: 'content_filter' }

/** Members of the request that the response repeats, with OpenAI's defaults. */
const REPEATED: Record<string, JsonValue> = {
  instructions: null,
  max_output_tokens: null,
  metadata: {},
  parallel_tool_calls: true,
  previous_response_id: null,
  reasoning: { effort: null, summary: null },
  store: true,
  temperature: 1,
  text: { format: { type: 'text' } },
  tool_choice: 'auto',
  tools: [],
  top_p: 1,
  truncation: 'disabled',
}

/**
 * Converts a chat completion to a response. Item ids are derived from the completion's id: the same completion gives the same response.
 *
 * @param asked the request of the Responses API
 */
export function toResponse(completion: JsonObject, asked: JsonObject): JsonObject {
  const choice = firstChoice(completion)
  const message = isJsonObject(choice.message) ? choice.message : {}
  const finish = String(choice.finish_reason ?? 'stop')
  const items = listOutput(completion, message)
  const output = items.map((item, index) => (index === items.length - 1 ? endItem(item, finish) : item))
  return closeResponse(completion, asked, finish, output)
}

/** Marks the last item of an answer that was cut off as incomplete. */
export function endItem(item: JsonObject, finish: string): JsonObject {
  return Object.hasOwn(INCOMPLETE, finish) && 'status' in item ? { ...item, status: 'incomplete' } : item
}

/** Builds the response around these items, with the status that the chat's finish reason gives. */
export function closeResponse(
  completion: JsonObject,
  asked: JsonObject,
  finish: string,
  output: JsonObject[],
): JsonObject {
  const reason = Object.hasOwn(INCOMPLETE, finish) ? INCOMPLETE[finish]! : null
  const usage = isJsonObject(completion.usage) ? { usage: toResponseUsage(completion.usage) } : {}
  return {
    ...openResponse(completion, asked),
    status: reason === null ? 'completed' : 'incomplete',
    incomplete_details: reason === null ? null : { reason },
    output,
    ...usage,
  }
}

/** The response before any output. */
export function openResponse(completion: JsonObject, asked: JsonObject): JsonObject {
  const repeated = Object.entries(REPEATED).map(([name, value]) => [name, asked[name] ?? value])
  return {
    id: idOf(completion, 'resp'),
    object: 'response',
    created_at: completion.created ?? 0,
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    model: completion.model ?? '',
    output: [],
    ...Object.fromEntries(repeated),
    usage: null,
    ...(completion.service_tier === undefined ? {} : { service_tier: completion.service_tier }),
  }
}

function listOutput(completion: JsonObject, message: JsonObject): JsonObject[] {
  const items: JsonObject[] = []
  const reasoning = textOf(message.reasoning_content)
  const thinking = Array.isArray(message.thinking_blocks) ? message.thinking_blocks : []
  if (reasoning !== '' || thinking.length > 0) items.push(reasoningItem(completion, reasoning, thinking))
  const parts: JsonObject[] = []
  if (textOf(message.content) !== '') parts.push(textPart(textOf(message.content)))
  if (textOf(message.refusal) !== '') parts.push(refusalPart(textOf(message.refusal)))
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls.filter(isJsonObject) : []
  if (parts.length > 0 || calls.length === 0) items.push(messageItem(completion, parts))
  for (const call of calls) items.push(callItem(call))
  return items
}

export function reasoningItem(completion: JsonObject, text: string, thinking: JsonValue[]): JsonObject {
  return {
    id: idOf(completion, 'rs'),
    type: 'reasoning',
    summary: text === '' ? [] : [{ type: 'summary_text', text }],
    ...(thinking.length === 0 ? {} : { encrypted_content: packThinking(thinking) }),
  }
}

export function messageItem(completion: JsonObject, parts: JsonObject[]): JsonObject {
  return {
    id: idOf(completion, 'msg'),
    type: 'message',
    status: 'completed',
    role: 'assistant',
    content: parts,
  }
}

export function callItem(call: JsonObject): JsonObject {
  const called = isJsonObject(call.function) ? call.function : {}
  return {
    id: `fc_${textOf(call.id).replace(/^call_/, '')}`,
    type: 'function_call',
    status: 'completed',
    call_id: call.id ?? '',
    name: called.name ?? '',
    arguments: called.arguments ?? '',
  }
}

export function textPart(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

export function refusalPart(refusal: string): JsonObject {
  return { type: 'refusal', refusal }
}

/** Converts a chat's usage to a response's. Missing details count as zero, because OpenAI's types require them. */
function toResponseUsage(usage: JsonObject): JsonObject {
  const prompt = isJsonObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {}
  const completion = isJsonObject(usage.completion_tokens_details) ? usage.completion_tokens_details : {}
  return {
    input_tokens: usage.prompt_tokens ?? 0,
    input_tokens_details: { cached_tokens: prompt.cached_tokens ?? 0 },
    output_tokens: usage.completion_tokens ?? 0,
    output_tokens_details: { reasoning_tokens: completion.reasoning_tokens ?? 0 },
    total_tokens: usage.total_tokens ?? 0,
  }
}

export function firstChoice(completion: JsonObject): JsonObject {
  const [choice] = Array.isArray(completion.choices) ? completion.choices : []
  return isJsonObject(choice) ? choice : {}
}

/** Derives an id of the given kind from the completion's id. */
function idOf(completion: JsonObject, kind: string): string {
  return `${kind}_${textOf(completion.id).replace(/^(?:chatcmpl-|msg_)/, '')}`
}

export function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}
