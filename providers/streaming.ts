import type { Readable } from 'node:stream'
import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource, keepSourcesAt, withMembers } from '../lib/json-source.ts'
import { AnswerTooLargeError, createAnswerScanner } from './answer-bounds.ts'
import { createChatAssembler } from './assemble.ts'
import { type AnswerOutcome, type FailureVerdict, invalidAnswer, truncatedStream } from './classify.ts'
import { findGivenUp, givenUp, judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { findError, isHeartbeat } from './provider-error.ts'
import { readUsage } from './read-usage.ts'
import { createResponseAssembler } from './response-assembler.ts'
import { createSseParser } from './sse.ts'
import { judgeError } from './verdict.ts'

/** How long a finished stream may take to end, so that its connection can be used again, before it is closed. */
const END_GRACE_MS = 100

/** Takes the events of one stream; answers when the outcome is known. */
export type StreamReader = {
  take(data: string, name: string | null): AnswerOutcome | null
  /** The stream is over, cleanly or not, and no outcome is known yet. Null: it broke off too early. */
  finish(): AnswerOutcome | null
}

/**
 * Reads a streamed answer to its end, passes each chunk on and puts the whole body together.
 *
 * A connection error after the last part of the answer is no failure: the answer is complete, and paid for.
 *
 * @param options.drained holds the stream back while its chunks are not taken as fast as they come
 * @throws AnswerTooLargeError, also for an event beyond a bound of answer-bounds.ts, and the stream's own error when it breaks off before the answer is complete
 */
export async function readStream(options: {
  stream: Readable
  reader: StreamReader
  maxBytes: number
  drained: ProviderRequest['drained']
}): Promise<AnswerOutcome> {
  const { reader, drained } = options
  let outcome: AnswerOutcome | null = null
  const parser = createSseParser((data, name) => {
    outcome ??= reader.take(data, name)
  }, createAnswerScanner)
  const readOutcome = () => outcome
  let size = 0
  try {
    // Ended by hand, for leaving a `for await` loop destroys the stream and so the connection.
    for await (const chunk of options.stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > options.maxBytes)
        throw new AnswerTooLargeError(`the answer is larger than ${options.maxBytes} bytes`)
      parser.push(chunk)
      if (readOutcome()) break
      const behind = drained?.()
      if (behind) await behind
    }
  } catch (error) {
    const finished = error instanceof AnswerTooLargeError ? null : reader.finish()
    if (finished) return finished
    throw error
  }
  const settled = readOutcome()
  if (settled) {
    await releaseStream(options.stream)
    return settled
  }
  parser.end()
  const last = readOutcome()
  // What cannot be read at the very end is an event cut in two.
  if (last && (last.ok || last.verdict.code !== 'invalid_answer')) return last
  return reader.finish() ?? { ok: false, verdict: truncatedStream() }
}

/** What an event of a stream is: an end, an error, a part of the answer, or nothing to us. */
export type StreamEvent =
  | { kind: 'done' }
  | { kind: 'nothing'; isStrange: boolean }
  | { kind: 'failed'; outcome: AnswerOutcome }
  | { kind: 'part'; part: JsonObject }

/**
 * Sorts an event of a stream. Heartbeats in all forms say nothing, and neither does text that is no JSON, which
 * proxies put in; but JSON that cannot be read is a part of the answer that is lost.
 */
export function sortEvent(type: CallType, data: string, name: string | null, begun: boolean): StreamEvent {
  const text = data.trim()
  if (text === '[DONE]') return { kind: 'done' }
  const part = parseObject(text)
  if (part === null) {
    if (name === 'error') return failed(judgeError(text, type, begun))
    const isLost = text.startsWith('{')
    if (isLost) return failed(invalidAnswer('the stream held an event that is not a JSON object'))
    return { kind: 'nothing', isStrange: text !== '' }
  }
  const error = findError(part, name)
  if (error !== undefined) return failed(judgeError(error, type, begun))
  return isHeartbeat(part, name) ? { kind: 'nothing', isStrange: false } : { kind: 'part', part }
}

function failed(verdict: FailureVerdict): StreamEvent {
  return { kind: 'failed', outcome: { ok: false, verdict } }
}

/**
 * Reads chat completion chunks, which pass on as clients are to see them.
 *
 * @param options.forwardUsage false when the usage chunk was asked for by us alone: the client must not see it
 */
export function createChatReader(options: {
  onDelta: (chunk: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
  forwardUsage: boolean
}): StreamReader {
  const assembler = createChatAssembler()
  let begun = false
  /** Something came that is no chunk. */
  let isStrange = false

  function finish(): AnswerOutcome | null {
    const body = assembler.build()
    if (body === null) {
      return isStrange ? { ok: false, verdict: invalidAnswer('the stream held no choice') } : null
    }
    return assembler.isFinished() ? judgeBody('chat', body) : null
  }

  return {
    finish,
    take(data, name) {
      const event = sortEvent('chat', data, name, begun)
      switch (event.kind) {
        case 'done':
          isStrange = true
          return finish() ?? { ok: false, verdict: truncatedStream() }
        case 'failed':
          return event.outcome
        case 'nothing':
          isStrange ||= event.isStrange
          return null
      }
      const { part } = event
      if (!isChunk(part)) {
        isStrange = true
        return null
      }
      const reason = findGivenUp(part)
      if (reason !== null) return { ok: false, verdict: givenUp(reason) }
      begun = true
      if (options.onUsage) tellUsage(part, options.onUsage)
      const shown = assembler.add(part)
      const visible = options.forwardUsage ? shown : hideUsage(shown)
      if (visible) options.onDelta(visible)
      return null
    },
  }
}

/** What is no chunk is not ours, and is left out: clients trip over it. */
function isChunk(part: JsonObject): boolean {
  return Array.isArray(part.choices) || isJsonObject(part.usage) || part.object === 'chat.completion.chunk'
}

/** Reads the events of a Response, which pass on as they came. */
export function createResponseReader(options: {
  onDelta: (chunk: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
}): StreamReader {
  const assembler = createResponseAssembler()
  let begun = false
  let isStrange = false

  function finish(): AnswerOutcome | null {
    return isStrange ? { ok: false, verdict: invalidAnswer('the stream held no event of a response') } : null
  }

  return {
    finish,
    take(data, name) {
      const sorted = sortEvent('response', data, name, begun)
      switch (sorted.kind) {
        case 'done':
          // Some compatible servers end Responses streams as chats end.
          return finish() ?? { ok: false, verdict: truncatedStream() }
        case 'failed':
          return sorted.outcome
        case 'nothing':
          isStrange ||= sorted.isStrange && !begun
          return null
      }
      const { part } = sorted
      if (typeof part.type !== 'string' && name === null) {
        isStrange ||= !begun
        return null
      }
      isStrange = false
      const event = typeof part.type === 'string' ? part : { type: name, ...part }
      if (options.onUsage && isJsonObject(event.response)) tellUsage(event, options.onUsage)
      options.onDelta(event)
      assembler.add(event)
      if (event.type === 'response.completed' || event.type === 'response.incomplete') {
        keepSourcesAt(event, ['response'])
        return isJsonObject(event.response)
          ? judgeBody('response', assembler.complete(event.response))
          : { ok: false, verdict: invalidAnswer(`${event.type} came without its response`) }
      }
      if (event.type === 'response.failed') {
        const error = isJsonObject(event.response) ? event.response.error : undefined
        return { ok: false, verdict: judgeError(error, 'response', begun) }
      }
      if (event.type !== 'response.created' && event.type !== 'response.in_progress') begun = true
      return null
    },
  }
}

function tellUsage(chunk: JsonObject, onUsage: NonNullable<ProviderRequest['onUsage']>): void {
  const usage = readUsage(chunk)
  if (usage) onUsage(usage)
}

/**
 * What the client would have got without `include_usage`: chunks without the null `usage`, and not the last one,
 * which carries nothing else.
 */
function hideUsage(chunk: JsonObject): JsonObject | null {
  if (!isJsonObject(chunk.usage)) {
    if (chunk.usage !== null) return chunk
    return withMembers(chunk, { usage: undefined })
  }
  return Array.isArray(chunk.choices) && chunk.choices.length === 0 ? null : chunk
}

/** The data of an event, which keeps its text; null when it is no JSON object. Google wraps the errors in its streams in a list. */
function parseObject(data: string): JsonObject | null {
  try {
    const parsed: unknown = JSON.parse(data)
    if (isJsonObject(parsed)) return keepSource(parsed, data)
    return Array.isArray(parsed) && isJsonObject(parsed[0]) ? parsed[0] : null
  } catch {
    return null
  }
}

/** Lets the last bytes come in, so that the connection goes back to the pool; closes it when they do not. */
async function releaseStream(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(close, END_GRACE_MS)
    function close(): void {
      clearTimeout(timer)
      resolve()
    }
    stream.once('end', close).once('error', close).once('close', close).resume()
  })
  if (!stream.readableEnded) stream.destroy()
}
