import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { stringifyJson } from '../lib/json-source.ts'
import { textOf } from './chat-to-response.ts'
import { readUsage } from './read-usage.ts'

/** Anthropic's stop reason for a chat's finish reason. */
const STOP_REASONS: Record<string, string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
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
export function toStop(choice: JsonObject, asked: JsonObject, hasCalls: boolean): JsonObject {
  const finish = textOf(choice.finish_reason) || 'stop'
  const stops = Array.isArray(asked.stop_sequences) ? asked.stop_sequences : []
  const sequence = [choice.stop_reason, choice.matched_stop].find(
    (one) => typeof one === 'string' && stops.includes(one),
  )
  if (sequence !== undefined && finish === 'stop')
    return { stop_reason: 'stop_sequence', stop_sequence: sequence }
  const reason = Object.hasOwn(STOP_REASONS, finish) ? STOP_REASONS[finish]! : 'end_turn'
  // Some servers end with `stop` although they called a tool. Clients of this API run tools by the reason.
  return { stop_reason: hasCalls && reason === 'end_turn' ? 'tool_use' : reason, stop_sequence: null }
}

/** Converts usage to Anthropic's members, whose `input_tokens` exclude tokens read from and written to the prompt cache. */
export function toMessageUsage(usage: JsonValue | undefined): JsonObject {
  const known = isJsonObject(usage) ? readUsage({ usage }) : null
  const read = known?.cached_input_tokens ?? 0
  const written = known?.cache_write_tokens ?? 0
  return {
    input_tokens: Math.max(0, (known?.input_tokens ?? 0) - read - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    output_tokens: known?.output_tokens ?? 0,
  }
}

/** A piece of what a model says: a thought, a text, or part of a call, by its place among the calls. */
export type SaidPiece =
  | { kind: 'thinking' | 'text'; text: string }
  | { kind: 'call'; place: number; id: string; name: string; text: string }

/** The pieces in a delta of a chat, or in a whole message: thoughts first, as models have them. */
export function listPieces(delta: JsonObject): SaidPiece[] {
  const pieces: SaidPiece[] = []
  const add = (kind: 'thinking' | 'text', text: string) => {
    if (text !== '') pieces.push({ kind, text })
  }
  add('thinking', textOf(delta.reasoning_content) || textOf(delta.reasoning))
  // Mistral's content is a list of parts, thoughts among them.
  for (const part of Array.isArray(delta.content) ? delta.content : [delta.content ?? null]) {
    if (isJsonObject(part) && part.type === 'thinking') add('thinking', textOfParts(part.thinking))
    else add('text', textOfParts(part))
  }
  add('text', textOf(delta.refusal))
  const calls = Array.isArray(delta.tool_calls) ? delta.tool_calls : []
  for (const [position, call] of calls.entries()) {
    if (!isJsonObject(call)) continue
    const called = isJsonObject(call.function) ? call.function : {}
    const place = typeof call.index === 'number' ? call.index : position
    const text = isJsonObject(called.arguments) ? stringifyJson(called.arguments) : textOf(called.arguments)
    pieces.push({ kind: 'call', place, id: textOf(call.id), name: textOf(called.name), text })
  }
  return pieces
}

function textOfParts(value: JsonValue | undefined): string {
  if (Array.isArray(value)) return value.map(textOfParts).join('')
  return isJsonObject(value) ? textOf(value.text) : textOf(value)
}
