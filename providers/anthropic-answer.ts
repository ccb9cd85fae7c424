import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { stringifyJson } from '../lib/json-source.ts'

/** OpenAI's finish reason for Anthropic's stop reasons. The original stays beside it as `stop_reason`. */
export const FINISH_REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  // The turn continues when the client sends the answer back. OpenAI has no such finish reason.
  pause_turn: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

/**
 * Converts an answer of the Messages API to a chat completion. Null if it is not a message.
 *
 * @param created unix seconds; Anthropic reports none
 */
export function toChatCompletion(answer: JsonObject, created: number): JsonObject | null {
  if (!Array.isArray(answer.content)) return null
  const texts: string[] = []
  const calls: JsonObject[] = []
  const thinking: JsonObject[] = []
  for (const block of answer.content) {
    if (!isJsonObject(block)) continue
    if (block.type === 'text') texts.push(textOf(block.text))
    else if (block.type === 'tool_use') calls.push(toToolCall(block, stringifyJson(block.input ?? {})))
    else if (isThinking(block)) thinking.push(block)
  }
  const reasoning = thinking.map((block) => textOf(block.thinking)).join('')
  const message: JsonObject = {
    role: 'assistant',
    content: texts.length === 0 ? null : texts.join(''),
    refusal: readRefusal(answer),
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(thinking.length === 0 ? {} : { thinking_blocks: thinking }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
  return {
    id: answer.id ?? '',
    object: 'chat.completion',
    created,
    model: answer.model ?? '',
    choices: [{ index: 0, message, logprobs: null, ...toFinish(answer) }],
    ...(isJsonObject(answer.usage) ? { usage: toChatUsage(answer.usage) } : {}),
  }
}

/** The members of a choice that say why it ended. */
export function toFinish(ended: JsonObject): JsonObject {
  const reason = textOf(ended.stop_reason)
  const known = Object.hasOwn(FINISH_REASONS, reason) ? FINISH_REASONS[reason]! : 'stop'
  const sequence = ended.stop_sequence ?? null
  return {
    finish_reason: known,
    stop_reason: ended.stop_reason ?? null,
    ...(sequence === null ? {} : { stop_sequence: sequence }),
  }
}

/** The model's explanation of a refusal; null where it did not refuse or gave none. */
export function readRefusal(ended: JsonObject): string | null {
  const details = ended.stop_details
  return isJsonObject(details) && typeof details.explanation === 'string' ? details.explanation : null
}

/**
 * Converts usage to OpenAI's members. The prompt includes the tokens written to and read from the prompt cache ("Total input tokens … is
 * the summation", Messages reference). Counts without an OpenAI member keep Anthropic's name.
 */
export function toChatUsage(usage: JsonObject): JsonObject {
  const { input_tokens, output_tokens, output_tokens_details: details, ...own } = usage
  const written = readCount(usage.cache_creation_input_tokens)
  const read = readCount(usage.cache_read_input_tokens)
  const prompt = readCount(input_tokens) + written + read
  const completion = readCount(output_tokens)
  const thought = isJsonObject(details) ? readCount(details.thinking_tokens) : null
  return {
    ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== null)),
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: read },
    ...(thought === null ? {} : { completion_tokens_details: { reasoning_tokens: thought } }),
  }
}

/** Converts a `tool_use` block to OpenAI's tool call. */
export function toToolCall(block: JsonObject, text: string): JsonObject {
  return { id: block.id ?? '', type: 'function', function: { name: block.name ?? '', arguments: text } }
}

/** Such blocks are kept whole in `thinking_blocks`: a later request must send them back unchanged. */
export function isThinking(block: JsonObject): boolean {
  return block.type === 'thinking' || block.type === 'redacted_thinking'
}

export function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}

function readCount(value: JsonValue | undefined): number {
  return typeof value === 'number' && value > 0 ? value : 0
}
