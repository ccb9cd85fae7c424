import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/** Puts a chat completion together from its chunks. */
export type ChatAssembler = {
  add(chunk: JsonObject): void
  /** True when every choice seen has its finish reason. */
  isFinished(): boolean
  /** The `chat.completion` as it would have come in one piece; null when no choice came. */
  build(): JsonObject | null
}

type Choice = { index: number; message: JsonObject; members: JsonObject; logprobs: JsonObject | null }

/** Strings that come whole; all others, `content` and unknown ones such as `reasoning_content`, come in pieces. */
const WHOLE_STRINGS = new Set(['role', 'id', 'type', 'name'])

/**
 * Merges by OpenAI's rules: text and tool arguments join in order, tool calls meet by `index`, logprobs append,
 * `usage` is the last one given, other members take their last value. Unknown members survive.
 */
export function createChatAssembler(): ChatAssembler {
  const members: JsonObject = {}
  const choices = new Map<number, Choice>()

  function addChoice(part: JsonObject): void {
    const index = typeof part.index === 'number' ? part.index : 0
    const choice = choices.get(index) ?? { index, message: {}, members: {}, logprobs: null }
    choices.set(index, choice)
    for (const key of Object.keys(part)) {
      const value = part[key]
      if (key === 'delta') {
        if (isJsonObject(value)) mergeDelta(choice.message, value)
      } else if (key === 'logprobs') {
        if (isJsonObject(value)) choice.logprobs = appendLogprobs(choice.logprobs ?? {}, value)
      } else if (key !== 'index') assign(choice.members, key, value)
    }
  }

  return {
    add(chunk) {
      for (const key of Object.keys(chunk)) {
        if (key !== 'choices') assign(members, key, chunk[key])
        else if (Array.isArray(chunk.choices))
          for (const part of chunk.choices) if (isJsonObject(part)) addChoice(part)
      }
    },
    isFinished() {
      if (choices.size === 0) return false
      for (const choice of choices.values()) if (!choice.members.finish_reason) return false
      return true
    },
    build() {
      if (choices.size === 0) return null
      const sorted = [...choices.values()].sort((left, right) => left.index - right.index)
      return { ...members, object: 'chat.completion', choices: sorted.map(buildChoice) }
    },
  }
}

function buildChoice(choice: Choice): JsonObject {
  const message: JsonObject = { role: 'assistant', content: null, refusal: null, ...choice.message }
  if (Array.isArray(message.tool_calls)) message.tool_calls = message.tool_calls.map(dropIndex)
  return { index: choice.index, message, logprobs: choice.logprobs, finish_reason: null, ...choice.members }
}

function dropIndex(call: JsonValue): JsonValue {
  if (!isJsonObject(call)) return call
  const { index: _index, ...rest } = call
  return rest
}

/** A later null does not undo a value: `usage` and `finish_reason` are null in all chunks but one. */
function assign(target: JsonObject, key: string, value: JsonValue | undefined): void {
  if (key === '__proto__') return
  if (value !== null && value !== undefined) target[key] = value
  else if (target[key] === undefined) target[key] = null
}

function mergeDelta(target: JsonObject, delta: JsonObject): void {
  for (const key of Object.keys(delta)) {
    const value = delta[key]
    const known = target[key]
    if (key === '__proto__') continue
    if (typeof value === 'string' && typeof known === 'string' && !WHOLE_STRINGS.has(key))
      target[key] = known + value
    else if (Array.isArray(value)) target[key] = mergeItems(Array.isArray(known) ? known : [], value)
    else if (isJsonObject(value)) {
      const inner: JsonObject = isJsonObject(known) ? known : {}
      mergeDelta(inner, value)
      target[key] = inner
    } else assign(target, key, value)
  }
}

/** Items with the same `index` are pieces of one; items without an index are whole. */
function mergeItems(known: JsonValue[], items: JsonValue[]): JsonValue[] {
  for (const item of items) {
    if (!isJsonObject(item) || typeof item.index !== 'number') {
      known.push(item)
      continue
    }
    const match = known.find(
      (other): other is JsonObject => isJsonObject(other) && other.index === item.index,
    )
    const piece = match ?? {}
    if (!match) known.push(piece)
    mergeDelta(piece, item)
  }
  return known
}

function appendLogprobs(known: JsonObject, part: JsonObject): JsonObject {
  for (const key of Object.keys(part)) {
    const value = part[key]
    const before = known[key]
    if (Array.isArray(value) && Array.isArray(before)) for (const item of value) before.push(item)
    else assign(known, key, Array.isArray(value) ? [...value] : value)
  }
  return known
}
