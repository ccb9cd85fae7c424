import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { type StreamReader, sortEvent } from './streaming.ts'
import { isGiven } from './text-members.ts'
import { readStreamedInput } from './tool-arguments.ts'

/** A block while it grows; for a tool call, the pieces of its input. */
type Block = { members: JsonObject; input: string[] }

/** Blocks as they are before anything is said, by the delta that some servers begin them with. */
const OPENINGS: Readonly<Record<string, JsonObject>> = {
  text_delta: { type: 'text', text: '' },
  thinking_delta: { type: 'thinking', thinking: '', signature: '' },
}

/**
 * Reads the events of a Messages stream for a client that uses that API. Each event is passed on unchanged, and the message is assembled
 * alongside, as Anthropic's own package does it. Deltas of unknown types are kept as members of their block, and members of
 * `message_delta` as members of the message. Nulls and zeros do not replace a value that came before.
 */
export function createMessageReader(options: {
  onDelta: (event: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
}): StreamReader {
  const blocks: Block[] = []
  /** The latest block of each index: some servers count every block as 0. */
  const byIndex = new Map<JsonValue | undefined, Block>()
  let message: JsonObject | null = null
  let begun = false
  let isStrange = false

  function addUsage(usage: JsonValue | undefined): void {
    if (message === null || !isJsonObject(usage)) return
    message.usage = addGiven(isJsonObject(message.usage) ? message.usage : {}, usage)
    const read = readUsage({ usage: message.usage })
    if (read !== null) options.onUsage?.(read)
  }

  function grow(block: Block, delta: JsonObject): void {
    const { members } = block
    const append = (name: string) => {
      members[name] = `${textOf(members[name])}${textOf(delta[name])}`
    }
    if (delta.type === 'text_delta') append('text')
    else if (delta.type === 'thinking_delta') append('thinking')
    else if (delta.type === 'signature_delta') append('signature')
    else if (delta.type === 'input_json_delta') block.input.push(textOf(delta.partial_json))
    else if (delta.type === 'citations_delta') {
      const known = Array.isArray(members.citations) ? members.citations : []
      members.citations = [...known, delta.citation ?? null]
    } else {
      const { type: _type, ...rest } = delta
      Object.assign(members, rest)
    }
  }

  function open(index: JsonValue | undefined, opening: JsonObject): void {
    const block: Block = { members: { ...opening }, input: [] }
    blocks.push(block)
    byIndex.set(index, block)
    // From here on the model that another one handed over to speaks.
    if (message !== null && opening.type === 'fallback' && isJsonObject(opening.to))
      message = addGiven(message, { model: opening.to.model ?? null })
  }

  function add(event: JsonObject): void {
    const { type, index, delta } = event
    if (type === 'message_start' && isJsonObject(event.message)) {
      message = { ...event.message }
      addUsage(event.message.usage)
      // Servers that only seem to stream begin with the whole message.
      const { content } = event.message
      for (const [at, block] of (Array.isArray(content) ? content : []).entries())
        if (isJsonObject(block)) open(at, block)
    } else if (message === null) return
    else if (type === 'content_block_start' && isJsonObject(event.content_block)) {
      open(index, event.content_block)
    } else if (type === 'content_block_delta' && isJsonObject(delta)) {
      const opening = OPENINGS[String(delta.type)]
      if (!byIndex.has(index) && opening) {
        options.onDelta({ type: 'content_block_start', index: index ?? 0, content_block: opening })
        open(index, opening)
      }
      const block = byIndex.get(index)
      if (block) grow(block, delta)
    } else if (type === 'message_delta') {
      const { type: _type, delta: _delta, usage, ...members } = event
      message = addGiven(message, isJsonObject(delta) ? { ...members, ...delta } : members)
      addUsage(usage)
    }
  }

  function build(): AnswerOutcome {
    if (message === null) {
      return { ok: false, verdict: invalidAnswer('the stream held no message') }
    }
    const content = blocks.map(({ members, input }) => {
      const text = input.join('')
      return text === '' ? members : withMembers(members, { input: readStreamedInput(text) })
    })
    return judgeBody('message', { ...message, content })
  }

  function finish(): AnswerOutcome | null {
    if (message?.stop_reason) return build()
    return message === null && isStrange
      ? { ok: false, verdict: invalidAnswer('the stream held no event of a message') }
      : null
  }

  return {
    finish,
    take(data, name) {
      const sorted = sortEvent('message', data, name, begun)
      if (sorted.kind === 'failed') return sorted.outcome
      if (sorted.kind === 'done') return finish() ?? { ok: false, verdict: truncatedStream() }
      if (sorted.kind === 'nothing') {
        isStrange ||= sorted.isStrange && message === null
        return null
      }
      const event = typeof sorted.part.type === 'string' ? sorted.part : { type: name, ...sorted.part }
      add(event)
      if (message === null) {
        isStrange = true
        return null
      }
      if (event.type === 'content_block_start') begun = true
      options.onDelta(event)
      return event.type === 'message_stop' ? build() : null
    },
  }
}

/** The known members with the new ones. Nulls, empty strings and zeros replace nothing. */
function addGiven(known: JsonObject, told: JsonObject): JsonObject {
  const news = Object.entries(told).filter(([name, value]) => isGiven(value) || known[name] === undefined)
  return { ...known, ...Object.fromEntries(news) }
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}
