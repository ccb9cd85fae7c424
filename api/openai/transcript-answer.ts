import type { FastifyReply } from 'fastify'
import { parseLargeResult } from '../../jobs/job-result.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import { isPlainTranscript } from '../../providers/transcript.ts'
import type { Handover } from './answer-whole.ts'
import { cutText } from './cut-text.ts'
import type { StreamForm } from './stream.ts'

/** Sends a transcript in the requested form: JSON, plain text, or events. */
export function handOverTranscript(body: JsonObject): Handover {
  if (body.stream === true) return { stream: createTranscriptForm }
  if (!isPlainTranscript(body.response_format)) return { stream: null }
  return {
    stream: null,
    async send(reply: FastifyReply, _call, job) {
      await parseLargeResult(job)
      return reply.type('text/plain; charset=utf-8').send(textOf(job.result ?? {}))
    },
  }
}

/** Streams transcripts: events with pieces of the text, then one with all of it (OpenAI, "Transcription streaming events"). */
function createTranscriptForm(): StreamForm {
  let sent = ''
  let isDone = false
  return {
    chunk(chunk) {
      if (isJsonObject(chunk)) {
        if (chunk.type === 'transcript.text.delta') sent += String(chunk.delta ?? '')
        isDone ||= chunk.type === 'transcript.text.done'
      }
      return writeEvent(chunk)
    },
    end: (result) => (isDone || sent === textOf(result) ? (isDone ? '' : writeDone(result)) : null),
    replay(result) {
      const segments = Array.isArray(result.segments) ? result.segments.filter(isSegmentEvent) : []
      const pieces = cutText(textOf(result)).map((delta) => ({ type: 'transcript.text.delta', delta }))
      return [...segments, ...pieces].map(writeEvent).join('') + writeDone(result)
    },
    error: (error) => `event: error\ndata: ${stringifyLine({ type: 'error', error })}\n\n`,
  }
}

function isSegmentEvent(value: JsonValue): boolean {
  return isJsonObject(value) && value.type === 'transcript.text.segment'
}

function writeDone(result: JsonObject): string {
  const { text: _, segments: _segments, ...members } = result
  return writeEvent({ type: 'transcript.text.done', text: textOf(result), ...members })
}

function writeEvent(event: JsonValue): string {
  const name = isJsonObject(event) && typeof event.type === 'string' ? `event: ${event.type}\n` : ''
  return `${name}data: ${stringifyLine(event)}\n\n`
}

function textOf({ text }: JsonObject): string {
  return typeof text === 'string' ? text : ''
}
