import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { readThinking } from './response-thinking.ts'
import { UnmappableError } from './unmappable.ts'

/** Members about storage, delivery or OpenAI's cache. No answer depends on them. */
const HINTS = new Set([
  'model',
  'background',
  'include',
  'metadata',
  'prompt_cache_key',
  'prompt_cache_retention',
  'store',
  'stream_options',
  'truncation',
])

/** Members that have the same name in a chat. */
const SAME = [
  'temperature',
  'top_p',
  'parallel_tool_calls',
  'user',
  'safety_identifier',
  'service_tier',
  'stream',
  'top_logprobs',
] as const

const READ = new Set<string>([
  ...SAME,
  'instructions',
  'input',
  'tools',
  'tool_choice',
  'max_output_tokens',
  'text',
  'reasoning',
])

/** Roles of messages. All other items have a type of their own. */
const ROLES = new Set<JsonValue | undefined>(['user', 'assistant', 'system', 'developer'])

/**
 * Converts a Responses request to a Chat Completions request, for providers without the Responses API. Reference: OpenAI, "Create a model
 * response" and "Migrate to the Responses API".
 *
 * @throws UnmappableError that names the member a chat cannot express
 */
export function toChatBody(body: JsonObject): JsonObject {
  for (const [name, value] of Object.entries(body)) {
    if (READ.has(name) || HINTS.has(name) || value === null || value === undefined) continue
    throw new UnmappableError(name, 'this provider has no counterpart for it')
  }
  const chat: JsonObject = { model: body.model ?? '', messages: listMessages(body) }
  for (const name of SAME) if (isGiven(body[name])) chat[name] = body[name]
  if (isGiven(body.max_output_tokens)) chat.max_completion_tokens = body.max_output_tokens
  if (Array.isArray(body.tools) && body.tools.length > 0) chat.tools = body.tools.map(mapTool)
  if (isGiven(body.tool_choice)) chat.tool_choice = mapToolChoice(body.tool_choice)
  if (isJsonObject(body.reasoning) && isGiven(body.reasoning.effort)) {
    chat.reasoning_effort = body.reasoning.effort
  }
  if (isJsonObject(body.text)) Object.assign(chat, mapText(body.text))
  return chat
}

function listMessages(body: JsonObject): JsonObject[] {
  const messages: JsonObject[] = []
  if (isGiven(body.instructions)) {
    if (typeof body.instructions !== 'string') throw new UnmappableError('instructions', 'expected a text')
    messages.push({ role: 'system', content: body.instructions })
  }
  if (typeof body.input === 'string') return [...messages, { role: 'user', content: body.input }]
  if (!Array.isArray(body.input)) throw new UnmappableError('input', 'expected a text or a list of items')
  // One assistant turn has several items here, and is one message of a chat.
  let turn: JsonObject | null = null
  const ownTurn = (): JsonObject => {
    if (turn === null) {
      turn = { role: 'assistant', content: null }
      messages.push(turn)
    }
    return turn
  }
  body.input.forEach((item, index) => {
    const path = `input[${index}]`
    if (!isJsonObject(item)) throw new UnmappableError(path, 'expected an item')
    if (item.type === 'reasoning') {
      const thinking = readThinking(item)
      if (thinking.length > 0) append(ownTurn(), 'thinking_blocks', thinking)
    } else if (item.type === 'function_call') append(ownTurn(), 'tool_calls', [mapCall(item)])
    else if (item.type === 'function_call_output') {
      turn = null
      messages.push(mapCallOutput(item, path))
    } else if ((item.type ?? 'message') === 'message' && ROLES.has(item.role)) {
      const content = mapContent(item.content, `${path}.content`)
      if (item.role !== 'assistant') {
        turn = null
        messages.push({ role: item.role!, content })
      } else if (isGiven(ownTurn().content)) {
        turn = null
        ownTurn().content = content
      } else ownTurn().content = content
    } else throw new UnmappableError(`${path}.type`, 'this provider accepts only messages and function calls')
  })
  return messages
}

function mapContent(content: JsonValue | undefined, path: string): JsonValue {
  if (!Array.isArray(content)) return content ?? ''
  return content.map((part, index) => mapPart(part, `${path}[${index}]`))
}

function mapPart(part: JsonValue, path: string): JsonObject {
  if (!isJsonObject(part)) throw new UnmappableError(path, 'expected a part')
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: part.text ?? '' }
    case 'refusal':
      return { type: 'refusal', refusal: part.refusal ?? '' }
    case 'input_image': {
      if (!isGiven(part.image_url)) {
        throw new UnmappableError(`${path}.file_id`, 'this provider accepts images only by URL')
      }
      const detail = isGiven(part.detail) ? { detail: part.detail } : {}
      return { type: 'image_url', image_url: { url: part.image_url ?? '', ...detail } }
    }
    case 'input_file': {
      const { file_data, file_id, filename } = part
      if (isGiven(part.file_url)) throw new UnmappableError(`${path}.file_url`, 'send the file as file_data')
      return {
        type: 'file',
        file: {
          ...(isGiven(file_data) ? { file_data } : {}),
          ...(isGiven(file_id) ? { file_id } : {}),
          ...(isGiven(filename) ? { filename } : {}),
        },
      }
    }
    case 'input_audio':
      return { type: 'input_audio', input_audio: part.input_audio ?? null }
    default:
      throw new UnmappableError(`${path}.type`, 'this provider accepts only text, images and files')
  }
}

function mapCall(item: JsonObject): JsonObject {
  return {
    id: item.call_id ?? item.id ?? '',
    type: 'function',
    function: { name: item.name ?? '', arguments: item.arguments ?? '' },
  }
}

function mapCallOutput(item: JsonObject, path: string): JsonObject {
  return {
    role: 'tool',
    tool_call_id: item.call_id ?? '',
    content: mapContent(item.output, `${path}.output`),
  }
}

function mapTool(tool: JsonValue, index: number): JsonObject {
  if (!isJsonObject(tool) || tool.type !== 'function') {
    throw new UnmappableError(`tools[${index}].type`, 'this provider accepts only functions')
  }
  const { type: _type, name, description, parameters, strict, ...rest } = tool
  const described = isGiven(description) ? { description } : {}
  const declared = isGiven(parameters) ? { parameters } : {}
  // The default differs: strict in the Responses API, not strict in chats.
  return {
    ...rest,
    type: 'function',
    function: { name: name ?? '', ...described, ...declared, ...(strict === true ? { strict } : {}) },
  }
}

function mapToolChoice(choice: JsonValue | undefined): JsonValue {
  if (isJsonObject(choice)) {
    if (choice.type !== 'function') {
      throw new UnmappableError('tool_choice', 'this provider accepts auto, none, required, or one function')
    }
    return { type: 'function', function: { name: choice.name ?? '' } }
  }
  return choice ?? null
}

function mapText({ format, verbosity }: JsonObject): JsonObject {
  const mapped: JsonObject = {}
  if (isGiven(verbosity)) mapped.verbosity = verbosity
  if (isJsonObject(format) && format.type === 'json_schema') {
    const { type: _type, ...schema } = format
    mapped.response_format = { type: 'json_schema', json_schema: schema }
  } else if (isJsonObject(format) && format.type !== 'text') mapped.response_format = format
  return mapped
}

function append(message: JsonObject, name: string, values: JsonValue[]): void {
  const before = message[name]
  message[name] = [...(Array.isArray(before) ? before : []), ...values]
}

function isGiven(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null
}
