import type { JsonValue } from '../lib/json.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { readStream, type StreamReader, sortEvent } from './streaming.ts'
import { readBytes, readJson, type UpstreamResponse } from './transport.ts'

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
  if (stated.startsWith('text/event-stream')) {
    const onDelta = (body.stream === true && request.onDelta) || (() => {})
    return readStream({
      stream: response.stream,
      reader: createTranscriptReader(type, onDelta),
      maxBytes,
      drained: request.drained,
    })
  }
  if (!isPlainTranscript(body.response_format))
    return judgeBody(type, await readJson(response.stream, maxBytes))
  const pieces: Buffer[] = []
  await readBytes(response.stream, maxBytes, { take: (piece) => pieces.push(piece), drained: undefined })
  const text = Buffer.concat(pieces).toString('utf8')
  // Some servers always answer with JSON, and all report errors as JSON.
  const parsed = stated.includes('json') ? parse(text) : null
  return judgeBody(type, parsed ?? { text })
}

/** Passes on the events of a transcript (OpenAI, "Transcription streaming events"). The last one holds the whole. */
function createTranscriptReader(
  type: ProviderRequest['type'],
  onDelta: (chunk: JsonValue) => void,
): StreamReader {
  let begun = false
  const segments: JsonValue[] = []
  return {
    finish: () => null,
    take(data, name) {
      const event = sortEvent(type, data, name, begun)
      if (event.kind === 'failed') return event.outcome
      if (event.kind === 'done') return { ok: false, verdict: truncatedStream() }
      if (event.kind === 'nothing') return null
      const { part } = event
      if (typeof part.type !== 'string' || !part.type.startsWith('transcript.'))
        return {
          ok: false,
          verdict: invalidAnswer('the stream held an event that is not part of a transcript'),
        }
      begun = true
      onDelta(part)
      const { type: kind, ...members } = part
      if (kind === 'transcript.text.segment') segments.push(part)
      if (kind !== 'transcript.text.done') return null
      return judgeBody(type, segments.length === 0 ? members : { ...members, segments })
    },
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
