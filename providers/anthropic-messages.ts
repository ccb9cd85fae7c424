import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { mapPart } from './anthropic-parts.ts'
import { createToolIds, type ToolIds } from './anthropic-tool-ids.ts'
import { type ArgumentReader, createArgumentReader } from './tool-arguments.ts'
import { UnmappableError } from './unmappable.ts'

/**
 * Converts the conversation to Anthropic's form. System and developer messages move to `system`, tool calls become `tool_use` blocks, and
 * the tool results of one turn become `tool_result` blocks of one user message.
 *
 * @param system the client's own `system` in Anthropic's form; it comes first
 * @param instruction text to add at the end of the system prompt
 */
export function mapMessages(
  messages: JsonValue | undefined,
  system: JsonValue | undefined,
  instruction: string | null = null,
): { messages: JsonObject[]; system?: JsonValue } {
  if (!Array.isArray(messages)) throw new UnmappableError('messages', 'expected a list')
  const systemBlocks =
    typeof system === 'string' ? [textBlock(system)] : Array.isArray(system) ? [...system] : []
  const turns: JsonObject[] = []
  const ids = createToolIds()
  const readArguments = createArgumentReader()
  let results: JsonValue[] | null = null
  messages.forEach((message, index) => {
    const path = `messages[${index}]`
    if (!isJsonObject(message)) throw new UnmappableError(path, 'expected a message')
    if (message.role === 'tool') {
      if (results === null) {
        results = []
        turns.push({ role: 'user', content: results })
      }
      results.push(mapToolResult(message, path, ids))
      return
    }
    results = null
    if (message.role === 'system' || message.role === 'developer') {
      systemBlocks.push(...readBlocks(message.content, path).filter(hasContent))
    } else if (message.role === 'user') {
      turns.push({ role: 'user', content: mapContent(message.content, path) })
    } else if (message.role === 'assistant') {
      const content = mapAssistant(message, path, ids, readArguments)
      if (content.length > 0) turns.push({ role: 'assistant', content })
    } else throw new UnmappableError(`${path}.role`, 'anthropic has no counterpart for it')
  })
  trimPrefill(turns.at(-1))
  if (instruction !== null) systemBlocks.push(textBlock(instruction))
  return systemBlocks.length === 0 ? { messages: turns } : { messages: turns, system: simplify(systemBlocks) }
}

/** Anthropic refuses empty texts. They are left out where the message has other content. */
function mapContent(content: JsonValue | undefined, path: string): JsonValue {
  if (!Array.isArray(content)) return content ?? ''
  const blocks = readBlocks(content, path)
  const said = blocks.filter(hasContent)
  return said.length > 0 ? said : blocks
}

function hasContent(block: JsonValue): boolean {
  return !isJsonObject(block) || block.type !== 'text' || block.text !== ''
}

/** Anthropic: "Final assistant content cannot end with trailing whitespace". */
function trimPrefill(turn: JsonObject | undefined): void {
  if (turn?.role !== 'assistant' || !Array.isArray(turn.content)) return
  const last = turn.content.at(-1)
  if (isJsonObject(last) && last.type === 'text' && typeof last.text === 'string') {
    turn.content = [...turn.content.slice(0, -1), { ...last, text: last.text.trimEnd() }].filter(hasContent)
  }
}

function readBlocks(content: JsonValue | undefined, path: string): JsonObject[] {
  if (typeof content === 'string') return [textBlock(content)]
  if (!Array.isArray(content)) return []
  return content.map((part, index) => mapPart(part, `${path}.content[${index}]`))
}

/** Thinking comes first and unchanged, because its signature covers it. Empty texts are left out: Anthropic refuses them. */
function mapAssistant(
  message: JsonObject,
  path: string,
  ids: ToolIds,
  readArguments: ArgumentReader,
): JsonValue[] {
  if (isAsked(message.function_call)) {
    throw new UnmappableError(`${path}.function_call`, 'use tool_calls instead')
  }
  if (isAsked(message.audio)) throw new UnmappableError(`${path}.audio`, 'anthropic does not accept audio')
  const thinking = Array.isArray(message.thinking_blocks) ? message.thinking_blocks : []
  const texts = readBlocks(message.content, path).filter(hasContent)
  if (texts.length === 0 && typeof message.refusal === 'string' && message.refusal !== '') {
    texts.push(textBlock(message.refusal))
  }
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls : []
  const uses = calls.map((call, index) =>
    mapToolCall(call, `${path}.tool_calls[${index}]`, ids, readArguments),
  )
  return [...thinking, ...texts, ...uses]
}

function mapToolCall(call: JsonValue, path: string, ids: ToolIds, readArguments: ArgumentReader): JsonObject {
  if (!isJsonObject(call) || !isJsonObject(call.function)) {
    throw new UnmappableError(path, 'anthropic accepts calls of functions only')
  }
  const { id, type: _type, index: _index, function: called, ...rest } = call
  const place = `${path}.function.arguments`
  const input = readArguments(called.arguments, place)
  if (input === null) throw new UnmappableError(place, 'expected a JSON object')
  return {
    ...rest,
    type: 'tool_use',
    id: ids.ofCall(id),
    name: called.name ?? '',
    input,
  }
}

function mapToolResult(message: JsonObject, path: string, ids: ToolIds): JsonObject {
  const { role: _role, name: _name, tool_call_id: id, content, ...rest } = message
  return { ...rest, type: 'tool_result', tool_use_id: ids.ofResult(id), content: mapContent(content, path) }
}

function textBlock(text: string): JsonObject {
  return { type: 'text', text }
}

/** A single plain text is sent as a string. */
function simplify(blocks: JsonValue[]): JsonValue {
  const [first] = blocks
  const isPlain = blocks.length === 1 && isJsonObject(first) && Object.keys(first).length === 2
  return isPlain && typeof first.text === 'string' ? first.text : blocks
}

function isAsked(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null
}
