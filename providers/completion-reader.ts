import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { abortedAnswer, findAbortReason, judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { type StreamReader, sortEvent } from './streaming.ts'

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
    head ??= members
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
      const given = Object.entries(part).filter(([name, value]) => name !== 'text' && value !== null)
      choices.set(index, { ...choices.get(index), ...Object.fromEntries(given) })
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
      if (!Array.isArray(chunk.choices)) return null
      const reason = findAbortReason(chunk)
      if (reason !== null) return { ok: false, verdict: abortedAnswer(reason) }
      add(chunk)
      if (options.forwardUsage) options.onDelta(chunk)
      else if (chunk.choices.length > 0) {
        options.onDelta(chunk.usage === undefined ? chunk : withMembers(chunk, { usage: undefined }))
      }
      return null
    },
  }
}
