import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { keepSourcesAt, withMembers } from '../../lib/json-source.ts'
import { textOfPart } from '../../providers/content-parts.ts'
import { isTextMember } from '../../providers/text-members.ts'
import { cutText } from './cut-text.ts'

/**
 * The chunks that a finished chat completion would have been streamed with: assembled (providers/assemble.ts) they give the same
 * completion. Id, model and time stay; unknown members are included.
 */
export function* listChatChunks(body: JsonObject, includeUsage: boolean): Generator<JsonObject> {
  keepSourcesAt(body, ['usage'])
  keepSourcesAt(body, ['choices', '*', 'logprobs'])
  const { choices, usage } = body
  const base = withMembers(body, { object: 'chat.completion.chunk', choices: undefined, usage: undefined })
  const chunk = (parts: JsonObject[]): JsonObject =>
    withMembers(base, { choices: parts, ...(includeUsage ? { usage: null } : {}) })
  for (const [position, choice] of (Array.isArray(choices) ? choices : []).entries()) {
    if (!isJsonObject(choice)) continue
    for (const part of listParts(choice, position)) yield chunk([part])
  }
  if (includeUsage && isJsonObject(usage)) yield withMembers(base, { choices: [], usage })
}

function* listParts(choice: JsonObject, position: number): Generator<JsonObject> {
  const { index: given, message, logprobs, finish_reason: finish, ...members } = choice
  const index = typeof given === 'number' ? given : position
  const part = (delta: JsonObject): JsonObject => ({ index, delta, logprobs: null, finish_reason: null })
  const { opening, pieces } = cutMessage(isJsonObject(message) ? message : {})
  yield part(opening)
  // The first piece has all logprobs: a client that joins them does not care which token belongs to which piece.
  let pending = isJsonObject(logprobs) ? logprobs : null
  for (const delta of pieces) {
    yield { ...part(delta), logprobs: pending }
    pending = null
  }
  yield { ...members, ...part({}), logprobs: pending, finish_reason: finish ?? null }
}

/** Splits a message into members that come at once, and texts that come in pieces. */
function cutMessage(message: JsonObject): { opening: JsonObject; pieces: JsonObject[] } {
  const opening: JsonObject = {}
  const pieces: JsonObject[] = []
  for (const [name, value] of Object.entries(message)) {
    if (name === 'tool_calls' && Array.isArray(value)) pieces.push(...value.flatMap(cutToolCall))
    else if (name === 'content' && Array.isArray(value)) pieces.push(...value.flatMap(cutPart))
    else if (typeof value === 'string' && isTextMember(name)) {
      opening[name] = ''
      for (const text of cutText(value)) pieces.push({ [name]: text })
    } else opening[name] = value
  }
  return { opening, pieces }
}

/** Text parts come as pieces of text. Other parts come whole, as providers send them. */
function cutPart(part: JsonValue): JsonObject[] {
  const text = textOfPart(part)
  return text === null ? [{ content: [part] }] : cutText(text).map((piece) => ({ content: piece }))
}

function cutToolCall(call: JsonValue, index: number): JsonObject[] {
  if (!isJsonObject(call)) return []
  // The text of a `function` is in `arguments`, that of a custom tool in `input`.
  const [name, field] = isJsonObject(call.custom) ? ['custom', 'input'] : ['function', 'arguments']
  const tool = call[name]
  const text = isJsonObject(tool) ? tool[field] : undefined
  if (!isJsonObject(tool) || typeof text !== 'string') return [{ tool_calls: [{ index, ...call }] }]
  const opening = { index, ...call, [name]: { ...tool, [field]: '' } }
  return [opening, ...cutText(text).map((piece) => ({ index, [name]: { [field]: piece } }))].map((one) => ({
    tool_calls: [one],
  }))
}
