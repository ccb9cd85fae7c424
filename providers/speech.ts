import type { JsonObject, JsonValue } from '../lib/json.ts'
import { lookUp } from '../lib/look-up.ts'
import { sniffMediaType } from '../lib/media-type.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import { decodeBase64 } from './images.ts'
import { judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { readStream, type StreamReader, sortEvent } from './streaming.ts'
import { readBytes, readJson, type UpstreamResponse } from './transport.ts'

/** Media types by the request's `response_format`; the default is mp3 (OpenAI, "Create speech"). */
const TYPES: Record<string, string> = {
  mp3: 'audio/mpeg',
  opus: 'audio/ogg',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}

/**
 * Reads the answer to a speech request: raw bytes, a stream of events with pieces of them, or an error as JSON.
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
    const reader = createSpeechReader(request)
    return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
  }
  if (stated.endsWith('json')) {
    const body = await readJson(response.stream, maxBytes)
    const outcome = judgeBody('speech', body)
    return outcome.ok ? noAudio() : outcome
  }
  if (stated.startsWith('text/')) return noAudio()
  const audioPieces = createAudio(request)
  await readBytes(response.stream, maxBytes, { take: audioPieces.take, drained: request.drained })
  return audioPieces.toAnswer(null)
}

/** Assembles the audio of a stream of speech events (OpenAI, "Speech streaming events"). */
function createSpeechReader(request: ProviderRequest): StreamReader {
  const audioPieces = createAudio(request)
  return {
    finish: () => null,
    take(data, name) {
      const event = sortEvent('speech', data, name, audioPieces.hasBegun())
      if (event.kind === 'failed') return event.outcome
      if (event.kind === 'done') return { ok: false, verdict: truncatedStream() }
      if (event.kind === 'nothing') return null
      const { type, audio, usage } = event.part
      if (typeof audio === 'string') audioPieces.take(decodeBase64(audio))
      return type === 'speech.audio.done' ? audioPieces.toAnswer(usage ?? null) : null
    },
  }
}

function noAudio(): AnswerOutcome {
  return { ok: false, verdict: invalidAnswer('the answer holds no audio') }
}

/** Collects the pieces of audio and passes each on. */
function createAudio({ body, onAudio }: Pick<ProviderRequest, 'body' | 'onAudio'>) {
  const pieces: Buffer[] = []
  let contentType = ''
  return {
    hasBegun: () => pieces.length > 0,
    take(bytes: Buffer): void {
      if (bytes.length === 0) return
      if (pieces.length === 0) contentType = typeOf(body, bytes)
      pieces.push(bytes)
      onAudio?.({ bytes, contentType })
    },
    toAnswer(usage: JsonValue): AnswerOutcome {
      if (pieces.length === 0) return noAudio()
      const bytes = Buffer.concat(pieces)
      const data = [{ content_type: contentType, bytes: bytes.length }]
      return {
        ok: true,
        body: { data, ...(usage === null ? {} : { usage }) },
        media: [{ at: 0, bytes, contentType }],
      }
    },
  }
}

/** The media type by the first bytes, or else by the requested format. */
function typeOf(body: JsonObject, bytes: Buffer): string {
  const format = typeof body.response_format === 'string' ? body.response_format : 'mp3'
  return sniffMediaType(bytes) ?? lookUp(TYPES, format) ?? 'application/octet-stream'
}
