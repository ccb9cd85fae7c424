import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { mapMessages } from './anthropic-messages.ts'
import { mapTools } from './anthropic-tools.ts'
import { UnmappableError } from './unmappable.ts'

/** Members of a chat request that are mapped or read here; every other goes to the Messages API as it came. */
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
  'user',
  'safety_identifier',
  'metadata',
])

/** Hints about how OpenAI keeps and caches a call; no answer depends on them. */
const HINTS = new Set(['prompt_cache_key', 'prompt_cache_retention'])

/** What the Messages API has no counterpart for, with the values that ask for nothing. */
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

/** OpenAI's efforts in the words of `output_config.effort`. */
const EFFORTS: Record<string, string> = {
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'xhigh',
  max: 'max',
}

export type MessagesOptions = {
  /** The provider's own name of the model. */
  model: string
  /** Sent where the request names no cap, which the Messages API demands. */
  defaultMaxTokens: number
}

/**
 * A Chat Completions request as one of the Messages API. Reference: Anthropic, "Messages" and "OpenAI SDK
 * compatibility". docs/providers.md has the table.
 *
 * @throws UnmappableError for what would be lost on the way
 */
export function toMessagesBody(body: JsonObject, options: MessagesOptions): JsonObject {
  const mapped: JsonObject = {}
  for (const [name, value] of Object.entries(body)) {
    if (value === undefined || READ.has(name) || HINTS.has(name)) continue
    const asksForNothing = Object.hasOwn(WITHOUT_COUNTERPART, name) ? WITHOUT_COUNTERPART[name] : undefined
    if (asksForNothing === undefined) mapped[name] = value
    else if (value !== null && !asksForNothing(value)) {
      throw new UnmappableError(name, 'anthropic has no counterpart for it')
    }
  }
  mapped.model = options.model
  mapped.max_tokens = body.max_completion_tokens ?? body.max_tokens ?? options.defaultMaxTokens
  Object.assign(mapped, mapMessages(body.messages, body.system))
  Object.assign(mapped, mapTools(body.tools, body.tool_choice, body.parallel_tool_calls))
  const stop = body.stop ?? null
  if (stop !== null) mapped.stop_sequences = Array.isArray(stop) ? stop : [stop]
  if (body.stream === true) mapped.stream = true
  Object.assign(mapped, mapOutput(body))
  const metadata = mapMetadata(body)
  if (metadata !== null) mapped.metadata = metadata
  return mapped
}

/** The answer's format and the effort put into it share `output_config`; what the client says there itself stands. */
function mapOutput(body: JsonObject): JsonObject {
  const mapped: JsonObject = {}
  const config: JsonObject = {}
  const format = readFormat(body.response_format)
  if (format) config.format = format
  const effort = body.reasoning_effort ?? null
  if (effort === 'none') mapped.thinking = { type: 'disabled' }
  else if (effort !== null) {
    const known = typeof effort === 'string' && Object.hasOwn(EFFORTS, effort) ? EFFORTS[effort] : undefined
    if (known === undefined)
      throw new UnmappableError('reasoning_effort', 'not an effort that anthropic knows')
    config.effort = known
    mapped.thinking = { type: 'adaptive' }
  }
  if (isJsonObject(body.output_config)) Object.assign(config, body.output_config)
  if (Object.keys(config).length > 0) mapped.output_config = config
  const thinking = body.thinking ?? null
  if (thinking !== null) mapped.thinking = thinking
  return mapped
}

function readFormat(format: JsonValue | undefined): JsonObject | null {
  if (!isJsonObject(format) || format.type === 'text') return null
  const schema = isJsonObject(format.json_schema) ? format.json_schema.schema : undefined
  if (format.type === 'json_schema' && isJsonObject(schema)) return { type: 'json_schema', schema }
  throw new UnmappableError('response_format', 'anthropic takes json_schema with a schema, or text')
}

function mapMetadata(body: JsonObject): JsonObject | null {
  const given = isJsonObject(body.metadata) ? body.metadata : null
  const user = body.user ?? body.safety_identifier ?? null
  if (user === null) return given
  return { user_id: user, ...given }
}
