import { isJsonObject, type JsonObject } from '../lib/json.ts'
import type { AnswerPlan } from './answers.ts'
import type { StreamPiece } from './events.ts'
import type { PreparedAnswer } from './send.ts'

/** Prepares the transcript of a file in each of OpenAI's formats. The same sound always has the same transcript. */
export function prepareTranscript(
  plan: AnswerPlan,
  body: JsonObject,
  chunkTokens: number,
): Pick<PreparedAnswer, 'text' | 'bytes' | 'pieces'> {
  const { text } = plan
  const seconds = isJsonObject(body.file) && typeof body.file.seconds === 'number' ? body.file.seconds : 1
  const usage = { type: 'duration', seconds: Math.ceil(seconds) }
  if (body.stream === true) return { text: '', pieces: listEvents(text, usage, chunkTokens) }
  const asText = (written: string) => ({
    text: '',
    pieces: null,
    bytes: { content: Buffer.from(`${written}\n`), contentType: 'text/plain; charset=utf-8' },
  })
  switch (body.response_format) {
    case 'text':
      return asText(text)
    case 'srt':
      return asText(`1\n00:00:00,000 --> ${clock(seconds, ',')}\n${text}\n`)
    case 'vtt':
      return asText(`WEBVTT\n\n00:00:00.000 --> ${clock(seconds, '.')}\n${text}\n`)
    case 'verbose_json': {
      const segments = [{ id: 0, seek: 0, start: 0, end: seconds, text, tokens: [], temperature: 0 }]
      const task = plan.type === 'translation' ? 'translate' : 'transcribe'
      return {
        text: JSON.stringify({ task, language: 'english', duration: seconds, text, segments, usage }),
        pieces: null,
      }
    }
    default:
      return { text: JSON.stringify({ text, usage }), pieces: null }
  }
}

function listEvents(text: string, usage: JsonObject, chunkTokens: number): StreamPiece[] {
  const size = Math.max(1, chunkTokens * 4)
  const deltas = Array.from({ length: Math.ceil(text.length / size) }, (_, at) => ({
    type: 'transcript.text.delta',
    delta: text.slice(at * size, (at + 1) * size),
  }))
  return [...deltas, { type: 'transcript.text.done', text, usage }].map((event) => ({
    text: `data: ${JSON.stringify(event)}\n\n`,
    tokens: event.type === 'transcript.text.delta' ? chunkTokens : 0,
  }))
}

function clock(seconds: number, point: string): string {
  const time = new Date(Math.round(seconds * 1000)).toISOString()
  return time.slice(11, 23).replace('.', point)
}
