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
    const reader = createSpeechReader(request)
    return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
  }
  if (stated.endsWith('json')) {
    const body = await readJson(response.stream, maxBytes)
    const outcome = judgeBody('speech', body)
    return outcome.ok ? noSound() : outcome
  }
  if (stated.startsWith('text/')) return noSound()
  const sound = createSound(request)
  await readBytes(response.stream, maxBytes, { take: sound.take, drained: request.drained })
  return sound.toAnswer(null)
}

/** Puts the sound of a stream of speech events together (OpenAI, "Speech streaming events"). */
function createSpeechReader(request: ProviderRequest): StreamReader {
  const sound = createSound(request)
  return {
    finish: () => null,
    take(data, name) {
      const event = sortEvent('speech', data, name, sound.hasBegun())
      if (event.kind === 'failed') return event.outcome
      if (event.kind === 'done') return { ok: false, verdict: truncatedStream() }
      if (event.kind === 'nothing') return null
      const { type, audio, usage } = event.part
      if (typeof audio === 'string') sound.take(decodeBase64(audio))
      return type === 'speech.audio.done' ? sound.toAnswer(usage ?? null) : null
    },
  }
}

function noSound(): AnswerOutcome {
  return { ok: false, verdict: invalidAnswer('the answer holds no sound') }
}

/** Gathers the pieces of a sound, and passes each on. */
function createSound({ body, onSound }: Pick<ProviderRequest, 'body' | 'onSound'>) {
  const pieces: Buffer[] = []
  let contentType = ''
  return {
    hasBegun: () => pieces.length > 0,
    take(bytes: Buffer): void {
      if (bytes.length === 0) return
      if (pieces.length === 0) contentType = typeOf(body, bytes)
      pieces.push(bytes)
      onSound?.({ bytes, contentType })
    },
    toAnswer(usage: JsonValue): AnswerOutcome {
      if (pieces.length === 0) return noSound()
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

/** By the beginning of a sound, else by what was asked for. */
function typeOf(body: JsonObject, bytes: Buffer): string {
  const format = typeof body.response_format === 'string' ? body.response_format : 'mp3'
  return sniffMediaType(bytes) ?? TYPES[format] ?? 'application/octet-stream'
}
