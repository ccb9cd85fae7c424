import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { stringifyJson } from '../lib/json-source.ts'
import { UnmappableError } from './unmappable.ts'

/**
 * Converts the system prompt and the turns of a Messages request to the messages of a chat. Tool results become messages of their own,
 * before the rest of their turn. Thinking of earlier answers is left out: no other model can read it.
 *
 * @throws UnmappableError for blocks that a chat has no counterpart for
 */
export function readMessageTurns(
  system: JsonValue | undefined,
  messages: JsonValue | undefined,
): JsonObject[] {
  if (!Array.isArray(messages)) throw new UnmappableError('messages', 'expected a list')
  const systemText = readSystem(system)
  const turns = messages.flatMap((message, index) => {
    const path = `messages[${index}]`
    if (!isJsonObject(message)) throw new UnmappableError(path, 'expected a message')
    const blocks = readBlocks(message.content, `${path}.content`)
    if (message.role === 'user') return mapUser(blocks)
    if (message.role === 'assistant') return [mapAssistant(blocks)]
    if (message.role === 'system') return [{ role: 'system', content: textOf(blocks) }]
    throw new UnmappableError(`${path}.role`, 'expected user or assistant')
  })
  return systemText === '' ? turns : [{ role: 'system', content: systemText }, ...turns]
}

/** A block, and its path in the request. */
type Block = { block: JsonObject; path: string }

function readSystem(system: JsonValue | undefined): string {
  return textOf(readBlocks(system, 'system'))
}

function readBlocks(content: JsonValue | undefined, path: string): Block[] {
  if (content === undefined || content === null) return []
  if (typeof content === 'string') return [{ block: { type: 'text', text: content }, path }]
  if (!Array.isArray(content)) throw new UnmappableError(path, 'expected a text or a list of blocks')
  return content.map((block, index) => {
    const place = `${path}[${index}]`
    if (!isJsonObject(block)) throw new UnmappableError(place, 'expected a block')
    return { block, path: place }
  })
}

/** Joins the texts of text blocks with blank lines. */
function textOf(blocks: readonly Block[]): string {
  return blocks
    .map(({ block, path }) => {
      if (block.type !== 'text') throw refuse(block, path)
      return String(block.text ?? '')
    })
    .join('\n\n')
}

function mapUser(blocks: readonly Block[]): JsonObject[] {
  const results: JsonObject[] = []
  const parts: JsonObject[] = []
  for (const { block, path } of blocks) {
    if (block.type !== 'tool_result') {
      parts.push(mapPart(block, path))
      continue
    }
    const inner = readBlocks(block.content, `${path}.content`)
    const texts = inner.filter((one) => one.block.type === 'text')
    results.push({
      role: 'tool',
      tool_call_id: block.tool_use_id ?? '',
      content: block.is_error === true ? `Error: ${textOf(texts)}` : textOf(texts),
    })
    // A tool message holds only text; images of a tool result go to the user message that follows.
    for (const one of inner) if (one.block.type !== 'text') parts.push(mapPart(one.block, one.path))
  }
  if (parts.length === 0) return results
  return [...results, { role: 'user', content: simplify(parts) }]
}

/** A list with a single text becomes that text: some servers do not accept lists. */
function simplify(parts: JsonObject[]): JsonValue {
  const [first] = parts
  return parts.length === 1 && first?.type === 'text' ? (first.text ?? '') : parts
}

function mapPart(block: JsonObject, path: string): JsonObject {
  if (block.type === 'text') return { type: 'text', text: block.text ?? '' }
  const { source } = block
  if (!isJsonObject(source)) throw refuse(block, path)
  if (block.type === 'image') {
    if (source.type === 'url') return { type: 'image_url', image_url: { url: source.url ?? '' } }
    if (source.type === 'base64') return { type: 'image_url', image_url: { url: toDataUrl(source) } }
  }
  if (block.type === 'document') {
    const filename = typeof block.title === 'string' && block.title !== '' ? block.title : 'document.pdf'
    if (source.type === 'base64') return { type: 'file', file: { filename, file_data: toDataUrl(source) } }
    if (source.type === 'text') return { type: 'text', text: String(source.data ?? '') }
  }
  throw new UnmappableError(`${path}.source.type`, 'chat completions have no counterpart for it')
}

function toDataUrl(source: JsonObject): string {
  return `data:${String(source.media_type ?? '')};base64,${String(source.data ?? '')}`
}

function mapAssistant(blocks: readonly Block[]): JsonObject {
  const texts: string[] = []
  const calls: JsonObject[] = []
  for (const { block, path } of blocks) {
    if (block.type === 'text') texts.push(String(block.text ?? ''))
    else if (block.type === 'tool_use') {
      const called = { name: block.name ?? '', arguments: stringifyJson(block.input ?? {}) }
      calls.push({ id: block.id ?? '', type: 'function', function: called })
    } else if (block.type !== 'thinking' && block.type !== 'redacted_thinking') throw refuse(block, path)
  }
  return {
    role: 'assistant',
    content: texts.length === 0 && calls.length > 0 ? null : texts.join(''),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

function refuse(block: JsonObject, path: string): UnmappableError {
  const type = typeof block.type === 'string' ? `"${block.type.slice(0, 64)}"` : 'without a type'
  return new UnmappableError(`${path}.type`, `chat completions have no counterpart for blocks ${type}`)
}
