import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Job } from '../../jobs/job.ts'
import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import type { ApiStore } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { notFound } from '../errors.ts'
import { encodeBase64 } from '../files/send-base64.ts'
import { onGone } from './answer.ts'
import { answerFailure, cacheOf, type Handover, type LiveAnswer, stopped } from './answer-whole.ts'
import type { OpenAiCall } from './call.ts'
import { followSound, type SoundProgress } from './follow-sound.ts'
import { failureOf, type StreamForm } from './stream.ts'
import type { watchCall } from './watch.ts'

/** Bytes of audio in one event. */
const EVENT_BYTES = 24 * 1024

type SpeechDeps = { store: Pick<ApiStore, 'files'> }

/**
 * Sends audio as OpenAI does, while the provider sends it: its bytes, or with `stream_format: "sse"` events with pieces. It does not matter
 * whether the provider sends bytes or events.
 */
export function handOverSpeech(body: JsonObject, deps: SpeechDeps): Handover {
  if (body.stream_format === 'sse') return { stream: createSpeechForm, watch: watchEvents(deps) }
  return { stream: null, sendLive: (reply, call, about) => sendBytes(reply, call, about, deps) }
}

/**
 * Sends the bytes of audio from the first on. An earlier failure is an ordinary error. A later one breaks the connection, so that partial
 * audio never looks complete. The length is sent for audio that is already complete.
 */
async function sendBytes(
  reply: FastifyReply,
  call: OpenAiCall,
  { jobs, closing, cancel }: LiveAnswer,
  deps: SpeechDeps,
): Promise<FastifyReply> {
  const gone = abortOnDisconnect(reply)
  const finish = call.isOwn ? onGone(gone, closing, cancel) : () => {}
  const progress = followSound(deps, jobs, call, AbortSignal.any([gone, closing]))
  try {
    const { value: first } = await progress.next()
    if (first === undefined) {
      if (gone.aborted) return reply.hijack()
      throw stopped()
    }
    reply.header('x-cache', cacheOf(first, call.job))
    if (first.kind !== 'sound') {
      finish()
      const failure = failureOf(first)
      if (failure !== null) return answerFailure(reply, call, failure)
      throw notFound('file')
    }
    if (first.of !== undefined) reply.header('content-length', lengthOf(first.of))
    const rest = passOn(first, progress, (isBroken) => {
      finish()
      // Another attempt would only be for this client, which could not be sent it.
      if (isBroken && call.isOwn) cancel()
    })
    return reply.type(first.contentType).send(Readable.from(rest, { highWaterMark: 1 }))
  } catch (error) {
    finish()
    throw error
  }
}

async function* passOn(
  first: SoundProgress & { kind: 'sound' },
  progress: AsyncGenerator<SoundProgress>,
  onDone: (isBroken: boolean) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield first.bytes
    for await (const step of progress) {
      if (step.kind === 'sound') {
        yield step.bytes
        continue
      }
      onDone(step.kind === 'broken')
      const failure = failureOf(step)
      if (failure === null) return
      throw new Error(`a speech broke off: ${failure.error.message}`)
    }
    throw stopped()
  } finally {
    await progress.return(undefined)
  }
}

function lengthOf({ result }: Job): number {
  const entry = Array.isArray(result?.data) ? result.data[0] : null
  return isJsonObject(entry) ? Number(entry.bytes) : 0
}

/** The progress of a speech, with events instead of bytes. */
function watchEvents(deps: SpeechDeps): typeof watchCall {
  return async function* watch(jobs, call, signal) {
    let last: Exclude<SoundProgress, { kind: 'sound' }> | null = null
    let of: Job | undefined
    async function* sounds(): AsyncGenerator<Uint8Array> {
      for await (const step of followSound(deps, jobs, call, signal)) {
        if (step.kind !== 'sound') {
          last = step
          return
        }
        of = step.of
        for (let from = 0; from < step.bytes.length; from += EVENT_BYTES) {
          yield step.bytes.subarray(from, from + EVENT_BYTES)
        }
      }
    }
    for await (const audio of encodeBase64(sounds())) {
      if (audio === '') continue
      const chunk = { type: 'speech.audio.delta', audio }
      yield { kind: 'chunk', chunk, ...(of === undefined ? {} : { of }) }
    }
    if (last !== null) yield last
  }
}

/** Streams speech (OpenAI, "Speech streaming events"). */
function createSpeechForm(): StreamForm {
  const writeDone = ({ usage = null }: JsonObject) =>
    writeEvent({ type: 'speech.audio.done', ...(usage === null ? {} : { usage }) })
  return {
    chunk: (chunk) => writeEvent(chunk as JsonObject),
    end: writeDone,
    replay: writeDone,
    error: (error) => `event: error\ndata: ${stringifyLine({ type: 'error', error })}\n\n`,
  }
}

function writeEvent(event: JsonObject): string {
  return `event: ${event.type}\ndata: ${stringifyLine(event)}\n\n`
}
