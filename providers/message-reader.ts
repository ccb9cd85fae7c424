import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { parseWithSource, withMembers } from '../lib/json-source.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { type StreamReader, sortEvent } from './streaming.ts'

/** A block while it grows; for a tool call, the pieces of its input. */
type Block = { members: JsonObject; input: string[] }

/**
 * Reads the events of a Messages stream for a client that uses that API. Each event is passed on unchanged, and the message is assembled
 * alongside. Deltas of unknown types are kept as members of their block.
 */
export function createMessageReader(options: {
  onDelta: (event: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
}): StreamReader {
  const blocks = new Map<number, Block>()
  let message: JsonObject | null = null
  let begun = false
  let isStrange = false

  function addUsage(usage: JsonValue | undefined): void {
    if (message === null || !isJsonObject(usage)) return
    const known = isJsonObject(message.usage) ? message.usage : {}
    const told = Object.entries(usage).filter(([, value]) => value !== null)
    message.usage = { ...known, ...Object.fromEntries(told) }
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

  function add(event: JsonObject): void {
    if (event.type === 'message_start' && isJsonObject(event.message)) {
      message = { ...event.message }
      addUsage(event.message.usage)
    } else if (event.type === 'content_block_start' && isJsonObject(event.content_block)) {
      blocks.set(Number(event.index), { members: { ...event.content_block }, input: [] })
    } else if (event.type === 'content_block_delta' && isJsonObject(event.delta)) {
      const block = blocks.get(Number(event.index))
      if (block) grow(block, event.delta)
    } else if (event.type === 'message_delta' && message !== null) {
      if (isJsonObject(event.delta)) Object.assign(message, event.delta)
      addUsage(event.usage)
    }
  }

  function build(): AnswerOutcome {
    if (message === null) {
      return { ok: false, verdict: invalidAnswer('the stream held no message') }
    }
    const content: JsonObject[] = []
    for (const [, { members, input }] of [...blocks].sort(([a], [b]) => a - b)) {
      const text = input.join('')
      if (text === '') content.push(members)
      else {
        const parsed = parseInput(text)
        if (parsed === undefined) {
          return { ok: false, verdict: invalidAnswer('the input of a tool call is not JSON') }
        }
        content.push(withMembers(members, { input: parsed }))
      }
    }
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

/** Parses the input and keeps its text; undefined where it is not JSON. */
function parseInput(text: string): JsonValue | undefined {
  try {
    return parseWithSource(text) as JsonValue
  } catch {
    return undefined
  }
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}
