import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { abortedAnswer, findAbortReason, judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { type StreamReader, sortEvent } from './streaming.ts'
import { isGiven } from './text-members.ts'

/** What names the answer: the first value given stands. Of its other members the last one counts. */
const HEAD = new Set(['id', 'created', 'model'])

/**
 * Reads the chunks of a streamed text completion (OpenAI, "Create completion"), forwards them and assembles the completion.
 *
 * @param options.forwardUsage false when only Sluice asked for the usage chunk: the client must not see it
 */
export function createCompletionReader(options: {
  onDelta: (chunk: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
  forwardUsage: boolean
}): StreamReader {
  const texts = new Map<number, string[]>()
  const choices = new Map<number, JsonObject>()
  let head: JsonObject | null = null
  let usage: JsonValue = null

  function add(chunk: JsonObject): void {
    const { choices: parts, usage: stated, ...members } = chunk
    head ??= {}
    for (const [name, value] of Object.entries(members)) {
      const known = head[name]
      if (known === undefined || (isGiven(value) && !(HEAD.has(name) && isGiven(known)))) head[name] = value
    }
    if (isJsonObject(stated)) {
      usage = stated
      const read = readUsage(chunk)
      if (read !== null) options.onUsage?.(read)
    }
    for (const [at, part] of (Array.isArray(parts) ? parts : []).entries()) {
      if (!isJsonObject(part)) continue
      const index = typeof part.index === 'number' ? part.index : at
      const pieces = texts.get(index) ?? []
      texts.set(index, pieces)
      if (typeof part.text === 'string') pieces.push(part.text)
      const choice = choices.get(index) ?? {}
      choices.set(index, choice)
      for (const [name, value] of Object.entries(part)) if (name !== 'text') addTo(choice, name, value)
    }
  }

  function finish(): AnswerOutcome | null {
    if (head === null || choices.size === 0) return null
    if ([...choices.values()].some(({ finish_reason: reason }) => typeof reason !== 'string')) return null
    const built = [...choices]
      .sort(([a], [b]) => a - b)
      .map(([index, members]) => ({ logprobs: null, ...members, index, text: texts.get(index)!.join('') }))
    return judgeBody('completion', { ...head, choices: built, ...(usage === null ? {} : { usage }) })
  }

  return {
    finish,
    take(data, name) {
      const sorted = sortEvent('completion', data, name, head !== null)
      if (sorted.kind === 'failed') return sorted.outcome
      if (sorted.kind === 'nothing') return null
      if (sorted.kind === 'done') {
        if (head === null) return { ok: false, verdict: invalidAnswer('the stream held no choice') }
        return finish() ?? { ok: false, verdict: truncatedStream() }
      }
      const chunk = sorted.part
      const hasChoices = Array.isArray(chunk.choices) && chunk.choices.length > 0
      if (!hasChoices && !isJsonObject(chunk.usage)) return null
      const reason = findAbortReason(chunk)
      if (reason !== null) return { ok: false, verdict: abortedAnswer(reason) }
      add(chunk)
      if (options.forwardUsage) options.onDelta(chunk)
      else if (hasChoices) {
        options.onDelta(chunk.usage === undefined ? chunk : withMembers(chunk, { usage: undefined }))
      }
      return null
    },
  }
}

/** What is told of each piece of the text goes on with it: lists, and lists within `logprobs`. Of all else the last value given counts. */
function addTo(known: JsonObject, name: string, value: JsonValue | undefined): void {
  const before = known[name]
  if (Array.isArray(value)) {
    if (Array.isArray(before)) for (const item of value) before.push(item)
    else known[name] = [...value]
  } else if (name === 'logprobs' && isJsonObject(value)) {
    const lists: JsonObject = isJsonObject(before) ? before : {}
    for (const [list, items] of Object.entries(value)) addTo(lists, list, items)
    known[name] = lists
  } else if (isGiven(value) || before === undefined) known[name] = value
}
