import type { Readable } from 'node:stream'
import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource, keepSourcesAt, withMembers } from '../lib/json-source.ts'
import { AnswerTooLargeError, createAnswerScanner } from './answer-bounds.ts'
import { createChatAssembler } from './assemble.ts'
import { type AnswerOutcome, type FailureVerdict, invalidAnswer, truncatedStream } from './classify.ts'
import { abortedAnswer, findAbortReason, judgeBody } from './judge-answer.ts'
import type { ProviderRequest } from './provider.ts'
import { findError, isHeartbeat } from './provider-error.ts'
import { readUsage } from './read-usage.ts'
import { createResponseAssembler } from './response-assembler.ts'
import { createSseParser } from './sse.ts'
import { judgeError } from './verdict.ts'

/** How long a finished stream may take to close, so that its connection can be reused, ms. */
const END_GRACE_MS = 100

/** Takes the events of one stream. Returns an outcome once it is known. */
export type StreamReader = {
  take(data: string, name: string | null): AnswerOutcome | null
  /** Called when the stream has ended, cleanly or not, without an outcome so far. Null: it ended too early. */
  finish(): AnswerOutcome | null
}

/**
 * Reads a streamed answer to its end, passes each chunk on and assembles the whole body.
 *
 * A connection error after the last part of the answer is not a failure: the answer is complete, and billed.
 *
 * @param options.drained holds the stream back while its chunks are not consumed fast enough
 * @throws AnswerTooLargeError, also for an event beyond a bound of answer-bounds.ts; the stream's own error when it breaks off before the
 * answer is complete
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
    for (const event of data.includes('\n') ? splitEvent(data) : [data]) outcome ??= reader.take(event, name)
  }, createAnswerScanner)
  const readOutcome = () => outcome
  let size = 0
  try {
    // Leaving a plain `for await` loop would destroy the stream, and with it the connection.
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
  // An unreadable event at the very end was cut in two.
  if (last && (last.ok || last.verdict.code !== 'invalid_answer')) return last
  return reader.finish() ?? { ok: false, verdict: truncatedStream() }
}

/** Splits the data of an event whose server leaves out the blank lines between events. */
function splitEvent(data: string): string[] {
  if (isJson(data)) return [data]
  const lines = data.split('\n').filter((line) => line.trim() !== '')
  return lines.length > 1 && lines.every((line) => line.trim() === '[DONE]' || isJson(line)) ? lines : [data]
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The kinds of stream events: the end, an error, a part of the answer, or nothing of interest. */
export type StreamEvent =
  | { kind: 'done' }
  | { kind: 'nothing'; isStrange: boolean }
  | { kind: 'failed'; outcome: AnswerOutcome }
  | { kind: 'part'; part: JsonObject }

/**
 * Classifies an event of a stream. Heartbeats in all forms are ignored, and so is text that is not JSON, which proxies insert. Broken JSON
 * is a lost part of the answer.
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
 * Reads chat completion chunks, and passes them on in the form for clients.
 *
 * @param options.forwardUsage false when only Sluice asked for the usage chunk: the client must not see it
 */
export function createChatReader(options: {
  onDelta: (chunk: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
  forwardUsage: boolean
}): StreamReader {
  const assembler = createChatAssembler()
  let begun = false
  /** Something that is not a chunk came. */
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
      const reason = findAbortReason(part)
      if (reason !== null) return { ok: false, verdict: abortedAnswer(reason) }
      begun = true
      if (options.onUsage) tellUsage(part, options.onUsage)
      const shown = assembler.add(part)
      const visible = options.forwardUsage ? shown : hideUsage(shown)
      if (visible) options.onDelta(visible)
      return null
    },
  }
}

/** Anything else is left out: clients fail on it. */
function isChunk(part: JsonObject): boolean {
  return Array.isArray(part.choices) || isJsonObject(part.usage) || part.object === 'chat.completion.chunk'
}

/** Events that hold a whole Response: OpenAI's, and those that some servers end every stream with. */
const ENDS = new Set(['response.completed', 'response.incomplete', 'response.cancelled', 'response.done'])

/** The response of an event that ends it. Some servers leave its status at `in_progress`. */
function endOf(type: JsonValue | undefined, response: JsonObject): JsonObject {
  const isOpen = response.status === 'in_progress' || response.status === 'queued'
  if (!isOpen || type === 'response.cancelled') return response
  return withMembers(response, { status: type === 'response.incomplete' ? 'incomplete' : 'completed' })
}

/** Reads the events of a Response and passes them on unchanged. */
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

  /** Passes on the last event in OpenAI's form, with all items that came. */
  function takeEnd(event: JsonObject): AnswerOutcome {
    if (!isJsonObject(event.response)) {
      return { ok: false, verdict: invalidAnswer(`${String(event.type)} came without its response`) }
    }
    keepSourcesAt(event, ['response'])
    const response = assembler.complete(endOf(event.type, event.response))
    const outcome = judgeBody('response', response)
    if (!outcome.ok) return outcome
    const type = response.status === 'incomplete' ? 'response.incomplete' : 'response.completed'
    const isAsItIs = response === event.response && event.type === type
    options.onDelta(isAsItIs ? event : withMembers(event, { type, response }))
    return outcome
  }

  return {
    finish,
    take(data, name) {
      const sorted = sortEvent('response', data, name, begun)
      switch (sorted.kind) {
        case 'done':
          // Some compatible servers end Responses streams with `[DONE]`, as chats end.
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
      if (ENDS.has(String(event.type))) return takeEnd(event)
      options.onDelta(event)
      assembler.add(event)
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
 * Removes what the client would not get without `include_usage`: the null `usage` of chunks, and the last chunk, which has only the usage.
 */
function hideUsage(chunk: JsonObject): JsonObject | null {
  if (!isJsonObject(chunk.usage)) {
    if (chunk.usage !== null) return chunk
    return withMembers(chunk, { usage: undefined })
  }
  return Array.isArray(chunk.choices) && chunk.choices.length === 0 ? null : chunk
}

/** The data of an event as an object that keeps its text; null when it is not a JSON object. Google wraps errors in a stream in a list. */
function parseObject(data: string): JsonObject | null {
  try {
    const parsed: unknown = JSON.parse(data)
    if (isJsonObject(parsed)) return keepSource(parsed, data)
    return Array.isArray(parsed) && isJsonObject(parsed[0]) ? parsed[0] : null
  } catch {
    return null
  }
}

/** Waits for the last bytes, so that the connection goes back to the pool. Closes it when they do not come. */
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
