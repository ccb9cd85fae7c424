import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { type AnswerFormat, readAnswerFormat } from './answer-format.ts'
import { mapMessages } from './anthropic-messages.ts'
import { mapThinking } from './anthropic-thinking.ts'
import { mapTools } from './anthropic-tools.ts'
import { createUnsupported, type OnUnsupported, type Unsupported } from './unsupported.ts'

/** Members of a chat request that are mapped here. All others are sent to the Messages API unchanged. */
const READ = new Set([
  'model',
  'messages',
  'system',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'max_tokens',
  'max_completion_tokens',
  'stop',
  'stream',
  'stream_options',
  'response_format',
  'reasoning_effort',
  'thinking',
  'output_config',
  'temperature',
  'top_p',
  'user',
  'safety_identifier',
  'metadata',
])

/** Hints on storage and caching at OpenAI. No answer depends on them. */
const HINTS = new Set(['prompt_cache_key', 'prompt_cache_retention'])

/** Members without a counterpart in the Messages API. Each function tells whether a value asks for nothing. */
const WITHOUT_COUNTERPART: Record<string, (value: JsonValue) => boolean> = {
  n: (value) => value === 1,
  logprobs: (value) => value === false,
  top_logprobs: (value) => value === 0,
  logit_bias: (value) => isJsonObject(value) && Object.keys(value).length === 0,
  frequency_penalty: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  seed: () => false,
  store: (value) => value === false,
  modalities: (value) => Array.isArray(value) && value.every((one) => one === 'text'),
  audio: () => false,
  prediction: () => false,
  functions: () => false,
  function_call: () => false,
  web_search_options: () => false,
  verbosity: (value) => value === 'medium',
}

export type MessagesOptions = {
  /** The provider's name for the model. */
  model: string
  /** Sent where the request sets no cap: the Messages API requires one. */
  defaultMaxTokens: number
  onUnsupported: OnUnsupported
}

export type MessagesRequest = {
  body: JsonObject
  /** Members of the chat that were left out because the provider has no counterpart. */
  dropped: string[]
  /** How the answer is checked against `response_format`; null: it is not checked. */
  format: AnswerFormat | null
}

/**
 * Converts a Chat Completions request to a Messages request. Values that Anthropic would refuse are corrected where no meaning is lost.
 * Reference: Anthropic, "Messages", "Extended thinking", "Structured outputs" and "OpenAI SDK compatibility". docs/providers.md has the
 * table.
 *
 * @throws UnmappableError for members that would be lost, unless the configuration says to drop them
 */
export function toMessagesRequest(body: JsonObject, options: MessagesOptions): MessagesRequest {
  const unsupported = createUnsupported(options.onUnsupported)
  const mapped: JsonObject = {}
  for (const [name, value] of Object.entries(body)) {
    if (value === undefined || READ.has(name) || HINTS.has(name)) continue
    const asksForNothing = Object.hasOwn(WITHOUT_COUNTERPART, name) ? WITHOUT_COUNTERPART[name] : undefined
    if (asksForNothing === undefined) mapped[name] = value
    else if (value !== null && !asksForNothing(value)) {
      unsupported.leaveOut(name, 'anthropic has no counterpart for it')
    }
  }
  const format = readAnswerFormat(body.response_format)
  mapped.model = options.model
  Object.assign(mapped, mapMessages(body.messages, body.system, format?.instruction ?? null))
  Object.assign(mapped, mapTools(body.tools, body.tool_choice, body.parallel_tool_calls))
  const stops = mapStops(body.stop, unsupported)
  if (stops.length > 0) mapped.stop_sequences = stops
  if (body.stream === true) mapped.stream = true
  const cap = body.max_completion_tokens ?? body.max_tokens ?? null
  const isForced = isJsonObject(mapped.tool_choice) && /^(?:any|tool)$/.test(String(mapped.tool_choice.type))
  const mappedThinking = mapThinking(
    body,
    { cap, defaultMaxTokens: options.defaultMaxTokens, isForced },
    unsupported,
  )
  mapped.max_tokens = mappedThinking.maxTokens
  if (mappedThinking.thinking !== null) mapped.thinking = mappedThinking.thinking
  const config = { ...(format?.format ? { format: format.format } : {}), ...mappedThinking.outputConfig }
  Object.assign(config, isJsonObject(body.output_config) ? body.output_config : {})
  if (Object.keys(config).length > 0) mapped.output_config = config
  Object.assign(mapped, mapSampling(body, mappedThinking.isThinking, unsupported))
  const metadata = mapMetadata(body)
  if (metadata !== null) mapped.metadata = metadata
  return { body: mapped, dropped: unsupported.dropped, format }
}

/** An empty stop sequence has no effect. Anthropic refuses one of white space alone. */
function mapStops(stop: JsonValue | undefined, unsupported: Unsupported): JsonValue[] {
  const stops = Array.isArray(stop) ? stop : [stop ?? '']
  return stops.filter((one) => {
    if (one === '' || one === null) return false
    if (typeof one !== 'string' || one.trim() !== '') return true
    unsupported.leaveOut('stop', 'anthropic accepts no stop sequence of white space alone')
    return false
  })
}

/**
 * Anthropic accepts a temperature from 0 to 1. With thinking it accepts only temperature 1, and no `top_p` below 0.95. Newer models refuse
 * both members at once: the one at its default is left out.
 */
function mapSampling(body: JsonObject, isThinking: boolean, unsupported: Unsupported): JsonObject {
  const mapped: JsonObject = {}
  const { temperature = null, top_p: topP = null } = body
  if (temperature !== null) {
    if (typeof temperature === 'number' && temperature > 1) {
      unsupported.leaveOut('temperature', 'anthropic accepts 0 to 1')
    } else if (!isThinking) mapped.temperature = temperature
    else if (temperature !== 1) unsupported.leaveOut('temperature', 'anthropic accepts none with thinking')
  }
  if (topP !== null && !(topP === 1 && (isThinking || mapped.temperature !== undefined))) {
    if (isThinking && typeof topP === 'number' && topP < 0.95) {
      unsupported.leaveOut('top_p', 'anthropic accepts 0.95 to 1 with thinking')
    } else mapped.top_p = topP
  }
  if (mapped.top_p !== undefined && mapped.temperature === 1) delete mapped.temperature
  return mapped
}

function mapMetadata(body: JsonObject): JsonObject | null {
  const given = isJsonObject(body.metadata) ? body.metadata : null
  const user = body.user ?? body.safety_identifier ?? null
  if (user === null) return given
  return { user_id: user, ...given }
}
