import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { findError } from './provider-error.ts'
import { readStream, type StreamReader, sortEvent } from './streaming.ts'
import { isGiven } from './text-members.ts'
import { isEventStream, readBytes, readJson, type UpstreamResponse } from './transport.ts'

/** Transcript formats that are text, not JSON (OpenAI, "Create transcription"). */
const TEXTS: ReadonlySet<unknown> = new Set(['text', 'srt', 'vtt'])

/** Whether the answer in this format is plain text. */
export function isPlainTranscript(format: JsonValue | undefined): boolean {
  return TEXTS.has(format)
}

/**
 * Reads a transcript: JSON, events, or plain text, which becomes `text` of the answer.
 *
 * @throws AnswerTooLargeError beyond `maxBytes`
 */
export async function readTranscript(
  request: ProviderRequest,
  response: UpstreamResponse,
  maxBytes: number,
): Promise<AnswerOutcome> {
  const { type, body } = request
  const stated = (response.headers.get('content-type') ?? '').toLowerCase()
  const isPlain = isPlainTranscript(body.response_format)
  // A plain text may begin like a stream does.
  if (stated.startsWith('text/event-stream') || (!isPlain && (await isEventStream(response)))) {
    const onDelta = (body.stream === true && request.onDelta) || (() => {})
    return readStream({
      stream: response.stream,
      reader: createTranscriptReader(type, onDelta),
      maxBytes,
      drained: request.drained,
    })
  }
  if (!isPlain) return judgeBody(type, await readJson(response.stream, maxBytes))
  const pieces: Buffer[] = []
  await readBytes(response.stream, maxBytes, { take: (piece) => pieces.push(piece), drained: undefined })
  const text = Buffer.concat(pieces)
    .toString('utf8')
    .replace(/^\uFEFF/, '')
  // Proxies answer with pages of their own, also with a 200.
  if (stated.startsWith('text/html') || /^\s*<(?:!doctype html|html)\b/i.test(text)) {
    return { ok: false, verdict: invalidAnswer('the answer is a page of HTML') }
  }
  // Some servers always answer with JSON, and all report errors as JSON, under any type.
  const parsed = stated.includes('json') || isErrorText(text) ? parse(text) : null
  return judgeBody(type, parsed ?? { text })
}

/**
 * Passes on the events of a transcript (OpenAI, "Transcription streaming events"). The last one holds the whole. vLLM sends chunks as of a
 * chat, and ends with `[DONE]`: these become events.
 */
function createTranscriptReader(
  type: ProviderRequest['type'],
  onDelta: (chunk: JsonValue) => void,
): StreamReader {
  let begun = false
  const segments: JsonValue[] = []
  const chunks = { texts: [] as string[], isFinished: false, usage: null as JsonValue }

  function takeChunk(part: JsonObject): null {
    const choice = Array.isArray(part.choices) ? part.choices.find(isJsonObject) : undefined
    const text = isJsonObject(choice?.delta) ? choice.delta.content : undefined
    if (isGiven(choice?.finish_reason)) chunks.isFinished = true
    if (isJsonObject(part.usage)) chunks.usage = part.usage
    if (typeof text !== 'string' || text === '') return null
    chunks.texts.push(text)
    onDelta({ type: 'transcript.text.delta', delta: text })
    return null
  }

  function finish(): AnswerOutcome | null {
    if (!chunks.isFinished) return null
    const whole: JsonObject = {
      text: chunks.texts.join(''),
      ...(chunks.usage === null ? {} : { usage: chunks.usage }),
    }
    onDelta({ type: 'transcript.text.done', ...whole })
    return judgeBody(type, whole)
  }

  return {
    finish,
    take(data, name) {
      const event = sortEvent(type, data, name, begun)
      if (event.kind === 'failed') return event.outcome
      if (event.kind === 'done') return finish() ?? { ok: false, verdict: truncatedStream() }
      if (event.kind === 'nothing') return null
      const { part } = event
      const isChunk = Array.isArray(part.choices) || part.object === 'transcription.chunk'
      if (!isChunk && (typeof part.type !== 'string' || !part.type.startsWith('transcript.')))
        return {
          ok: false,
          verdict: invalidAnswer('the stream held an event that is not part of a transcript'),
        }
      begun = true
      if (isChunk) return takeChunk(part)
      onDelta(part)
      const { type: kind, ...members } = part
      if (kind === 'transcript.text.segment') segments.push(part)
      if (kind !== 'transcript.text.done') return null
      return judgeBody(type, segments.length === 0 ? members : { ...members, segments })
    },
  }
}

/** Whether a text is an error as JSON, not what somebody said. */
function isErrorText(text: string): boolean {
  if (!text.trimStart().startsWith('{')) return false
  const value = parse(text)
  return isJsonObject(value) && findError(value) !== undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
