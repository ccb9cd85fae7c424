import type { Readable } from 'node:stream'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource, keepSourcesAt, withMembers } from '../lib/json-source.ts'
import { AnswerTooLargeError, createAnswerScanner } from './answer-bounds.ts'
import { createChatAssembler } from './assemble.ts'
import { invalidAnswer, type Outcome, type Verdict } from './classify.ts'
import type { ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { createSseParser } from './sse.ts'
import { judgeError } from './verdict.ts'

/** How long a finished stream may take to end, so that its connection can be used again, before it is closed. */
const END_GRACE_MS = 100

/** Takes the events of one stream; answers when the outcome is known. */
export type StreamReader = {
  take(data: string): Outcome | null
  /** The stream is over, cleanly or not, and no outcome is known yet. Null: it broke off too early. */
  finish(): Outcome | null
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
}): Promise<Outcome> {
  const { reader, drained } = options
  let outcome: Outcome | null = null
  const parser = createSseParser((data) => {
    outcome ??= reader.take(data)
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

/**
 * Reads chat completion chunks, which pass on as they came.
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

  function finish(): Outcome | null {
    const body = assembler.isFinished() ? assembler.build() : null
    return body && { ok: true, body }
  }

  return {
    finish,
    take(data) {
      if (data === '[DONE]') {
        const body = assembler.build()
        return body ? { ok: true, body } : { ok: false, verdict: invalidAnswer('the stream held no choice') }
      }
      const chunk = parseObject(data)
      if (!chunk)
        return { ok: false, verdict: invalidAnswer('the stream held an event that is not a JSON object') }
      if (chunk.error) {
        return { ok: false, verdict: judgeError(chunk.error, 'chat', begun) }
      }
      begun = true
      if (options.onUsage) tellUsage(chunk, options.onUsage)
      const shown = assembler.add(chunk)
      const visible = options.forwardUsage ? shown : hideUsage(shown)
      if (visible) options.onDelta(visible)
      return null
    },
  }
}

/** Reads the events of a Response, which pass on as they came. */
export function createResponseReader(options: {
  onDelta: (chunk: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
}): StreamReader {
  let begun = false
  return {
    finish: () => null,
    take(data) {
      // Some compatible servers end Responses streams as chats end.
      if (data === '[DONE]') return { ok: false, verdict: truncatedStream() }
      const event = parseObject(data)
      if (!event)
        return { ok: false, verdict: invalidAnswer('the stream held an event that is not a JSON object') }
      if (event.type === 'error' || (event.type === undefined && event.error)) {
        const { type: _type, sequence_number: _number, ...flat } = event
        const error = event.error ?? flat
        return { ok: false, verdict: judgeError(error, 'response', begun) }
      }
      if (typeof event.type !== 'string') {
        return { ok: false, verdict: invalidAnswer('the stream held an event without a type') }
      }
      if (options.onUsage && isJsonObject(event.response)) tellUsage(event, options.onUsage)
      options.onDelta(event)
      if (event.type === 'response.completed' || event.type === 'response.incomplete') {
        keepSourcesAt(event, ['response'])
        return isJsonObject(event.response)
          ? { ok: true, body: event.response }
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

function truncatedStream(): Verdict {
  return {
    class: 'retryable',
    code: 'truncated_stream',
    message: 'the stream ended before the answer was complete',
    ambiguous: true,
    input: false,
  }
}

/** The data of an event, which keeps its text; null when it is no JSON object. Google wraps the errors in its streams in a list. */
export function parseObject(data: string): JsonObject | null {
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
