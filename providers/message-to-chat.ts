import type { ProviderKind } from '../config/lanes.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { lookUp } from '../lib/look-up.ts'
import { readMessageTurns } from './message-turns.ts'
import { UnmappableError } from './unmappable.ts'

/** How a server with OpenAI's API expects what the Messages API says. */
export type ChatDialect = {
  /** OpenAI's newer models refuse `max_tokens`; other servers know only that name. */
  cap: 'max_completion_tokens' | 'max_tokens'
  /** Whether the server accepts `top_k`, as vLLM and similar servers do. */
  takesTopK: boolean
}

/** Gemini and compatible servers use `max_tokens`. */
export function chatDialectOf(kind: ProviderKind): ChatDialect {
  return kind === 'openai' || kind === 'azure-openai'
    ? { cap: 'max_completion_tokens', takesTopK: false }
    : { cap: 'max_tokens', takesTopK: kind === 'openai-compatible' }
}

/** Members that are mapped below. */
const READ = new Set([
  'model',
  'messages',
  'system',
  'max_tokens',
  'stop_sequences',
  'stream',
  'temperature',
  'top_p',
  'top_k',
  'tools',
  'tool_choice',
  'thinking',
  'output_config',
  'metadata',
])

/** Hints on storage, billing and previews. No answer depends on them. */
const HINTS = new Set([
  'anthropic_beta',
  'cache_control',
  'service_tier',
  'context_management',
  'inference_geo',
])

/** OpenAI's effort for each effort of `output_config`. */
const EFFORTS: Record<string, string> = {
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
  max: 'high',
}

/** The effort for a thinking budget: the first whose minimum, in tokens, is reached. */
const BUDGETS: readonly [least: number, effort: string][] = [
  [16_384, 'high'],
  [4_096, 'medium'],
  [0, 'low'],
]

/**
 * Converts a Messages request to a chat completion request, for servers with OpenAI's API. Reference: Anthropic, "Messages"; OpenAI,
 * "Create chat completion". docs/anthropic.md has the table.
 *
 * @throws UnmappableError for members that a chat has no counterpart for
 */
export function messageToChat(body: JsonObject, { cap, takesTopK }: ChatDialect): JsonObject {
  for (const [name, value] of Object.entries(body)) {
    if (READ.has(name) || HINTS.has(name) || value === null || value === undefined) continue
    throw new UnmappableError(name, 'chat completions have no counterpart for it')
  }
  const chat: JsonObject = { model: body.model ?? '', messages: readMessageTurns(body.system, body.messages) }
  if (isGiven(body.max_tokens)) chat[cap] = body.max_tokens!
  for (const name of ['temperature', 'top_p'] as const) if (isGiven(body[name])) chat[name] = body[name]!
  if (isGiven(body.top_k)) {
    if (!takesTopK) throw new UnmappableError('top_k', 'chat completions have no counterpart for it')
    chat.top_k = body.top_k!
  }
  if (Array.isArray(body.stop_sequences) && body.stop_sequences.length > 0) chat.stop = body.stop_sequences
  if (body.stream === true) chat.stream = true
  if (isJsonObject(body.metadata) && typeof body.metadata.user_id === 'string')
    chat.user = body.metadata.user_id
  Object.assign(chat, mapTools(body.tools, body.tool_choice), mapThinking(body))
  return chat
}

function mapTools(tools: JsonValue | undefined, choice: JsonValue | undefined): JsonObject {
  if (!Array.isArray(tools) || tools.length === 0) return {}
  const mapped: JsonObject = { tools: tools.map((tool, index) => mapTool(tool, `tools[${index}]`)) }
  if (!isJsonObject(choice)) return mapped
  if (choice.disable_parallel_tool_use === true) mapped.parallel_tool_calls = false
  if (choice.type === 'any') mapped.tool_choice = 'required'
  else if (choice.type === 'none' || choice.type === 'auto') mapped.tool_choice = choice.type
  else if (choice.type === 'tool')
    mapped.tool_choice = { type: 'function', function: { name: choice.name ?? '' } }
  else throw new UnmappableError('tool_choice.type', 'expected auto, any, tool or none')
  return mapped
}

function mapTool(tool: JsonValue, path: string): JsonObject {
  if (!isJsonObject(tool)) throw new UnmappableError(path, 'expected a tool')
  if (isGiven(tool.type) && tool.type !== 'custom')
    throw new UnmappableError(
      `${path}.type`,
      'a built-in tool of Anthropic; chat completions accept tools with an input_schema',
    )
  const { name = '', description, input_schema: parameters, strict } = tool
  return {
    type: 'function',
    function: {
      name,
      ...(isGiven(description) ? { description: description! } : {}),
      parameters: parameters ?? { type: 'object', properties: {} },
      ...(isGiven(strict) ? { strict: strict! } : {}),
    },
  }
}

/** Thinking and effort become `reasoning_effort`; a format becomes `response_format`. */
function mapThinking({ thinking, output_config: config }: JsonObject): JsonObject {
  const mapped: JsonObject = {}
  const own = isJsonObject(config) ? config : {}
  for (const [name, value] of Object.entries(own)) {
    if (name !== 'effort' && name !== 'format' && isGiven(value))
      throw new UnmappableError(`output_config.${name}`, 'chat completions have no counterpart for it')
  }
  const effort = lookUp(EFFORTS, String(own.effort))
  if (effort !== undefined) mapped.reasoning_effort = effort
  else if (isJsonObject(thinking) && thinking.type === 'enabled') {
    const budget = typeof thinking.budget_tokens === 'number' ? thinking.budget_tokens : 0
    mapped.reasoning_effort = BUDGETS.find(([least]) => budget >= least)![1]
  }
  if (isJsonObject(own.format)) {
    if (own.format.type !== 'json_schema')
      throw new UnmappableError('output_config.format.type', 'expected json_schema')
    const schema = own.format.schema ?? {}
    mapped.response_format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
  }
  return mapped
}

function isGiven(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null
}
