import type { JsonObject, JsonValue } from '../lib/json.ts'
import { sniffMediaType } from '../lib/media-type.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { judgeBody } from './judge-answer.ts'
import { decodeBase64 } from './pictures.ts'
import type { ProviderRequest } from './provider.ts'
import { readStream, type StreamReader, sortEvent } from './streaming.ts'
import { readBytes, readJson, type UpstreamResponse } from './transport.ts'

/** Types by the `response_format` of a request; without one it is mp3 (OpenAI, "Create speech"). */
const TYPES: Record<string, string> = {
  mp3: 'audio/mpeg',
  opus: 'audio/ogg',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}

/**
 * Reads the answer to a speech request: bytes under their own type, events with pieces of them, or an error as JSON.
 *
 * @throws AnswerTooLargeError beyond `maxBytes`
 */
export async function readSpeech(
  request: ProviderRequest,
  response: UpstreamResponse,
  maxBytes: number,
): Promise<AnswerOutcome> {
  const stated = (response.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase()
  if (stated === 'text/event-stream') {
    const reader = createSpeechReader(request.body)
    return readStream({ stream: response.stream, reader, maxBytes, drained: undefined })
  }
  if (stated.endsWith('json')) {
    const body = await readJson(response.stream, maxBytes)
    const outcome = judgeBody('speech', body)
    return outcome.ok ? noSound() : outcome
  }
  if (stated.startsWith('text/')) return noSound()
  const bytes = await readBytes(response.stream, maxBytes)
  return bytes.length === 0 ? noSound() : toAnswer(request.body, bytes, null)
}

/** Puts the sound of a stream of speech events together (OpenAI, "Speech streaming events"). */
function createSpeechReader(body: JsonObject): StreamReader {
  const pieces: Buffer[] = []
  return {
    finish: () => null,
    take(data, name) {
      const event = sortEvent('speech', data, name, pieces.length > 0)
      if (event.kind === 'failed') return event.outcome
      if (event.kind === 'done') return { ok: false, verdict: truncatedStream() }
      if (event.kind === 'nothing') return null
      const { type, audio, usage } = event.part
      if (typeof audio === 'string') pieces.push(decodeBase64(audio))
      if (type !== 'speech.audio.done') return null
      return pieces.length === 0 ? noSound() : toAnswer(body, Buffer.concat(pieces), usage ?? null)
    },
  }
}

function noSound(): AnswerOutcome {
  return { ok: false, verdict: invalidAnswer('the answer holds no sound') }
}

function toAnswer(body: JsonObject, bytes: Buffer, usage: JsonValue): AnswerOutcome {
  const format = typeof body.response_format === 'string' ? body.response_format : 'mp3'
  const contentType = sniffMediaType(bytes) ?? TYPES[format] ?? 'application/octet-stream'
  const data = [{ content_type: contentType, bytes: bytes.length }]
  return {
    ok: true,
    body: { data, ...(usage === null ? {} : { usage }) },
    media: [{ at: 0, bytes, contentType }],
  }
}
