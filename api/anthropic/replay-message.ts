import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { keepSourcesAt, stringifyJson } from '../../lib/json-source.ts'
import { cutText } from '../openai/cut-text.ts'

/**
 * The events that a finished message would have been streamed with. Text, thinking and tool inputs are cut into pieces; every other block
 * comes whole with its start event, as at Anthropic.
 */
export function* listMessageEvents(message: JsonObject): Generator<JsonObject> {
  keepSourcesAt(message, ['content', '*', 'input'])
  const {
    content,
    stop_reason,
    stop_sequence = null,
    stop_details,
    usage,
    context_management,
    ...head
  } = message
  const spent = isJsonObject(usage) ? usage : {}
  yield {
    type: 'message_start',
    message: {
      ...head,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      // Output tokens are reported at the end.
      usage: { ...spent, output_tokens: 0 },
    },
  }
  for (const [index, block] of (Array.isArray(content) ? content : []).entries()) {
    if (!isJsonObject(block)) continue
    const { opening, deltas } = cutBlock(block)
    yield { type: 'content_block_start', index, content_block: opening }
    for (const delta of deltas) yield { type: 'content_block_delta', index, delta }
    yield { type: 'content_block_stop', index }
  }
  const details = stop_details === undefined ? {} : { stop_details }
  yield {
    type: 'message_delta',
    delta: { stop_reason: stop_reason ?? null, stop_sequence, ...details },
    usage: spent,
    ...(context_management === undefined ? {} : { context_management }),
  }
  yield { type: 'message_stop' }
}

function cutBlock(block: JsonObject): { opening: JsonObject; deltas: JsonObject[] } {
  const pieces = (name: 'text' | 'thinking') => cutText(String(block[name] ?? ''))
  if (block.type === 'text') {
    const citations = Array.isArray(block.citations) ? block.citations : []
    const opening = Array.isArray(block.citations)
      ? { ...block, text: '', citations: [] }
      : { ...block, text: '' }
    const told = citations.map((citation) => ({ type: 'citations_delta', citation }))
    return { opening, deltas: [...told, ...pieces('text').map((text) => ({ type: 'text_delta', text }))] }
  }
  if (block.type === 'thinking') {
    const signature = String(block.signature ?? '')
    const deltas: JsonObject[] = pieces('thinking').map((thinking) => ({ type: 'thinking_delta', thinking }))
    if (signature !== '') deltas.push({ type: 'signature_delta', signature })
    return { opening: { ...block, thinking: '', signature: '' }, deltas }
  }
  if (block.type === 'tool_use' || block.type === 'server_tool_use') {
    const texts = cutText(stringifyJson(block.input ?? {}))
    const deltas = texts.map((text) => ({ type: 'input_json_delta', partial_json: text }))
    return { opening: { ...block, input: {} }, deltas }
  }
  return { opening: block, deltas: [] }
}
