import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { addContent, buildContent, type Content, textOfPart } from './content-parts.ts'
import { mergeMember } from './merge-members.ts'
import { isGiven } from './text-members.ts'
import { createToolCalls, type ToolCalls } from './tool-calls.ts'

/** Assembles a chat completion from its chunks. */
export type ChatAssembler = {
  /**
   * Takes a chunk and returns it in the form for the client, so that a client that follows OpenAI's rules strictly assembles the same
   * message. A chunk that already follows them is returned unchanged.
   */
  add(chunk: JsonObject): JsonObject
  /** True when every choice so far has its finish reason. */
  isFinished(): boolean
  /** The `chat.completion` as if it had come whole; null when no choice came. */
  build(): JsonObject | null
}

type Choice = {
  index: number
  message: JsonObject
  content: Content | null
  calls: ToolCalls | null
  /** Audio in base64; each piece is encoded separately. */
  sound: string[]
  members: JsonObject
  logprobs: JsonObject | null
  /** Whether a delta has come. */
  hasBegun: boolean
}

/** These identify the answer: the first value stays. */
const HEAD = ['id', 'created', 'model'] as const

/** OpenAI pads chunks with it, so that their length reveals nothing. It is not part of the answer. */
const PADDING = 'obfuscation'

/** Lists of a choice that grow with each chunk: vLLM's `return_token_ids`. */
const GROWING = new Set(['token_ids'])

/**
 * Merges by what each member means, not by its type: text is appended, a name stays once it is given, tool calls are matched by id and
 * index, and for everything else the last value counts. Empty strings, zeros and nulls count as no value. Unknown members stay. Time and
 * memory are linear in the size of the chunks.
 */
export function createChatAssembler(): ChatAssembler {
  const members: JsonObject = {}
  const choices = new Map<number, Choice>()

  /** Returns the chunk with the first values of the head, where it differs. */
  function addHead(chunk: JsonObject): JsonObject {
    let shown = chunk
    for (const key of HEAD) {
      const value = chunk[key]
      if (isGiven(members[key])) {
        if (value !== undefined && value !== members[key]) shown = { ...shown, [key]: members[key] }
      } else if (value !== undefined) members[key] = value
    }
    for (const key of Object.keys(chunk)) {
      if (key === 'choices' || key === 'id' || key === 'created' || key === 'model') continue
      if (key === PADDING) continue
      mergeState(members, key, chunk[key])
    }
    return shown
  }

  function addChoice(part: JsonObject, position: number): JsonObject {
    const index = typeof part.index === 'number' ? part.index : position
    const choice = choices.get(index) ?? createChoice(index)
    choices.set(index, choice)
    let shown = typeof part.index === 'number' ? part : { index, ...part }
    for (const key of Object.keys(part)) {
      const value = part[key]
      if (key === 'logprobs') {
        if (isJsonObject(value)) choice.logprobs = appendLists(choice.logprobs ?? {}, value)
      } else if (GROWING.has(key) && Array.isArray(value)) appendLists(choice.members, { [key]: value })
      else if (key !== 'index' && key !== 'delta' && key !== 'message') mergeState(choice.members, key, value)
    }
    // Some servers end a stream with the whole message; others send nothing else.
    const delta = part.delta ?? (choice.hasBegun ? undefined : part.message)
    const added = isJsonObject(delta) ? addDelta(choice, delta) : {}
    if (added !== part.delta) shown = { ...shown, delta: added }
    if (shown.message !== undefined) {
      const { message: _message, ...rest } = shown
      return rest
    }
    return shown
  }

  return {
    add(chunk) {
      let shown = addHead(chunk)
      const parts = Array.isArray(chunk.choices) ? chunk.choices : []
      let isAsItIs = Array.isArray(chunk.choices)
      const added: JsonObject[] = []
      for (const [position, part] of parts.entries()) {
        if (!isJsonObject(part)) {
          isAsItIs = false
          continue
        }
        const one = addChoice(part, position)
        if (one !== part) isAsItIs = false
        added.push(one)
      }
      if (!isAsItIs) shown = { ...shown, choices: added }
      return shown
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

function createChoice(index: number): Choice {
  const message = {}
  return {
    index,
    message,
    content: null,
    calls: null,
    sound: [],
    members: {},
    logprobs: null,
    hasBegun: false,
  }
}

/** Merges a delta into its message. Returns the delta in the form for the client. */
function addDelta(choice: Choice, delta: JsonObject): JsonObject {
  const { message } = choice
  choice.hasBegun = true
  let shown = delta
  for (const key of Object.keys(delta)) {
    const value = delta[key]
    if (key === 'role') {
      if (isGiven(message.role) || !isGiven(value)) {
        const { role: _role, ...rest } = shown
        shown = rest
      } else message.role = value
    } else if (key === 'content' && (typeof value === 'string' || Array.isArray(value))) {
      choice.content ??= { text: '', parts: null }
      message.content ??= ''
      addContent(choice.content, value)
      if (Array.isArray(value)) {
        const texts = value.map(textOfPart)
        if (texts.every((text) => text !== null)) shown = { ...shown, content: texts.join('') }
      }
    } else if (key === 'tool_calls' && Array.isArray(value)) {
      choice.calls ??= createToolCalls()
      message.tool_calls ??= []
      const calls = choice.calls.add(value)
      if (calls !== value) shown = { ...shown, tool_calls: calls }
    } else if (key === 'audio' && isJsonObject(value)) {
      const { data, ...rest } = value
      if (typeof data === 'string') choice.sound.push(data)
      mergeMember(message, key, rest)
    } else mergeMember(message, key, value)
  }
  return shown
}

function buildChoice(choice: Choice): JsonObject {
  const message: JsonObject = { role: 'assistant', content: null, refusal: null, ...choice.message }
  if (choice.content) message.content = buildContent(choice.content)
  if (choice.sound.length > 0 && isJsonObject(message.audio)) {
    message.audio = { ...message.audio, data: joinBase64(choice.sound) }
  }
  if (choice.calls) {
    const calls = choice.calls.build()
    if (calls.length > 0) message.tool_calls = calls
    else delete message.tool_calls
  }
  return { index: choice.index, message, logprobs: choice.logprobs, finish_reason: null, ...choice.members }
}

/** For state: the last value counts; objects are merged member by member. */
function mergeState(target: JsonObject, key: string, value: JsonValue | undefined): void {
  if (key === '__proto__' || value === undefined) return
  const known = target[key]
  if (isJsonObject(value) && isJsonObject(known)) {
    for (const name of Object.keys(value)) mergeState(known, name, value[name])
  } else if (isGiven(value) || known === undefined || known === null) {
    target[key] = isJsonObject(value) ? structuredClone(value) : value
  }
}

function joinBase64(pieces: string[]): string {
  const isPadded = pieces.slice(0, -1).some((piece) => piece.endsWith('='))
  return isPadded
    ? Buffer.concat(pieces.map((piece) => Buffer.from(piece, 'base64'))).toString('base64')
    : pieces.join('')
}

function appendLists(known: JsonObject, part: JsonObject): JsonObject {
  for (const key of Object.keys(part)) {
    const value = part[key]
    const before = known[key]
    if (Array.isArray(value) && Array.isArray(before)) for (const item of value) before.push(item)
    else mergeState(known, key, Array.isArray(value) ? [...value] : value)
  }
  return known
}
