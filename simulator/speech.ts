import type { JsonObject } from '../lib/json.ts'
import type { AnswerPlan } from './answers.ts'
import type { StreamPiece } from './events.ts'
import type { PreparedAnswer } from './send.ts'

const RATE = 8000
/** The spoken length of a character, seconds. */
const SECONDS_A_CHARACTER = 0.02
const LONGEST_SECONDS = 10
/** The size and length of a frame of MPEG-1 Layer III at 32 kbit/s and 44.1 kHz. */
const FRAME_BYTES = 104
const FRAME_SECONDS = 1152 / 44_100
const EVENTS = 4

/** Prepares the sound of a text: silent mp3 frames, or a WAV with a tone; as events if the body asks for them. */
export function prepareSpeech(
  plan: AnswerPlan,
  body: JsonObject,
): Pick<PreparedAnswer, 'text' | 'bytes' | 'pieces'> {
  const seconds = Math.min(LONGEST_SECONDS, Math.max(0.1, String(body.input).length * SECONDS_A_CHARACTER))
  const format = body.response_format ?? 'mp3'
  const content = format === 'mp3' ? frames(seconds) : format === 'pcm' ? tone(seconds) : wav(seconds)
  const contentType = format === 'mp3' ? 'audio/mpeg' : format === 'pcm' ? 'audio/pcm' : 'audio/wav'
  if (body.stream_format !== 'sse') return { text: '', pieces: null, bytes: { content, contentType } }
  return { text: '', pieces: listEvents(content, plan) }
}

function listEvents(content: Buffer, { inputTokens, outputTokens }: AnswerPlan): StreamPiece[] {
  const size = Math.ceil(content.length / EVENTS)
  const audio = Array.from({ length: EVENTS }, (_, at) => content.subarray(at * size, (at + 1) * size))
  const usage = {
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  }
  const events = [
    ...audio.map((piece) => ({ type: 'speech.audio.delta', audio: piece.toString('base64') })),
    { type: 'speech.audio.done', usage },
  ]
  return events.map((event) => ({ text: `data: ${JSON.stringify(event)}\n\n`, tokens: 0 }))
}

function frames(seconds: number): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES)
  frame.set([0xff, 0xfb, 0x10, 0xc4])
  return Buffer.concat(Array.from({ length: Math.ceil(seconds / FRAME_SECONDS) }, () => frame))
}

/** 16-bit samples of a tone of 440 Hz. */
function tone(seconds: number): Buffer {
  const samples = Buffer.alloc(Math.round(seconds * RATE) * 2)
  for (let at = 0; at < samples.length; at += 2) {
    samples.writeInt16LE(Math.round(6000 * Math.sin((at / 2 / RATE) * 440 * 2 * Math.PI)), at)
  }
  return samples
}

/** A valid WAV file: mono, 16 bits, 8 kHz. */
function wav(seconds: number): Buffer {
  const samples = tone(seconds)
  const head = Buffer.alloc(44)
  head.write('RIFF', 0, 'latin1')
  head.writeUInt32LE(36 + samples.length, 4)
  head.write('WAVEfmt ', 8, 'latin1')
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(RATE, 24)
  head.writeUInt32LE(RATE * 2, 28)
  head.writeUInt16LE(2, 32)
  head.writeUInt16LE(16, 34)
  head.write('data', 36, 'latin1')
  head.writeUInt32LE(samples.length, 40)
  return Buffer.concat([head, samples])
}
