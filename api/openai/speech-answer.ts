import type { FastifyReply } from 'fastify'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import type { ApiDeps } from '../deps.ts'
import { notFound } from '../errors.ts'
import { sendContent } from '../files/send-content.ts'
import { answerStream } from './answer.ts'
import type { Handover } from './answer-whole.ts'

/** Bytes of sound in one event; divisible by three, so that the pieces of base64 fit together. */
const EVENT_BYTES = 24 * 1024

/** Hands over sound as OpenAI does: its bytes, or with `stream_format: "sse"` events with pieces of them. */
export function handOverSpeech(body: JsonObject, { files }: Pick<ApiDeps, 'files'>): Handover {
  return {
    stream: null,
    async send(reply: FastifyReply, call, job) {
      const { data, usage = null } = job.result ?? {}
      const entry = Array.isArray(data) ? data[0] : null
      const id = isJsonObject(entry) ? entry.file_id : null
      const file = typeof id === 'string' ? await files.get(call.tenant, id) : null
      if (file === null) throw notFound('file')
      if (body.stream_format !== 'sse') {
        const type = isJsonObject(entry) ? entry.content_type : null
        return sendContent(reply, files, file, typeof type === 'string' ? type : 'application/octet-stream')
      }
      const content = await files.read(call.tenant, file.id)
      if (content === null) throw notFound('file')
      return answerStream(reply, writeEvents(content, usage))
    },
  }
}

async function* writeEvents(content: AsyncIterable<Uint8Array>, usage: JsonValue): AsyncGenerator<string> {
  for await (const part of content) {
    for (let from = 0; from < part.length; from += EVENT_BYTES) {
      const audio = Buffer.from(part.subarray(from, from + EVENT_BYTES)).toString('base64')
      yield writeEvent({ type: 'speech.audio.delta', audio })
    }
  }
  yield writeEvent({ type: 'speech.audio.done', ...(usage === null ? {} : { usage }) })
}

function writeEvent(event: JsonObject): string {
  return `event: ${event.type}\ndata: ${stringifyLine(event)}\n\n`
}
