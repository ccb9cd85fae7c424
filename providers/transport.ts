import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import type { Dispatcher } from 'undici'
import { createLongWork, longWorkTurn } from '../lib/breathe.ts'
import { isJsonObject } from '../lib/json.ts'
import { keepSource } from '../lib/json-source.ts'
import { parseJsonInSlices } from '../lib/parse-json-in-slices.ts'
import { AnswerTooLargeError, createAnswerScanner } from './answer-bounds.ts'
import { requestTracked } from './connections.ts'
import { decodeContent } from './content-coding.ts'
import type { HeaderReader } from './feedback.ts'
import type { FormBody } from './form-body.ts'
import { peekText } from './peek.ts'
import type { ProviderRequest } from './provider.ts'
import { parseErrorBody } from './provider-error.ts'

/** An upstream answer whose headers have come; the body is still on its way. */
export type UpstreamResponse = {
  readonly status: number
  readonly headers: HeaderReader
  readonly stream: Readable
}

/** Larger answers are cut, unless the provider's options say otherwise. */
export const DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** Thrown for an answer with an error status. */
export class RefusedError extends Error {
  readonly status: number
  readonly headers: HeaderReader | null
  /** The error object, or what is said instead, as far as there is anything. */
  readonly error: unknown

  constructor(refusal: { status: number; headers: HeaderReader | null; error: unknown }) {
    super(`the provider answered with status ${refusal.status}`)
    this.status = refusal.status
    this.headers = refusal.headers
    this.error = refusal.error
  }
}

/** Answers of this length on, in characters, are parsed in pieces, with turns of the event loop between them. */
const LARGE_ANSWER = 1024 * 1024

/**
 * Reads a whole body as JSON; an object keeps its text. Undefined where it is none.
 *
 * @throws AnswerTooLargeError beyond `maxBytes` or a bound of answer-bounds.ts; the connection is then closed, not drained
 */
export async function readJson(stream: Readable, maxBytes: number): Promise<unknown> {
  const text = await readText(stream, maxBytes)
  const value = text.length < LARGE_ANSWER ? parseJson(text) : await parseLarge(text)
  return isJsonObject(value) ? keepSource(value, text) : value
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function parseLarge(text: string): Promise<unknown> {
  await longWorkTurn()
  const value = await parseJsonInSlices(text, { breathe: createLongWork() }).catch(() => undefined)
  await longWorkTurn()
  return value
}

/**
 * Whether the answer comes in pieces. Its first byte tells: servers and proxies send streams under every type, and
 * JSON under that of a stream. Where there is none, the type does.
 */
export async function isEventStream(response: UpstreamResponse): Promise<boolean> {
  const first = await peekText(response.stream)
  if (first === '{' || first === '[' || first === '<') return false
  if (first !== null && ':deir'.includes(first)) return true
  return /text\/event-stream/i.test(response.headers.get('content-type') ?? '')
}

/** A base URL without a slash at its end. */
export function trimUrl(url: string): string {
  return url.replace(/\/+$/, '')
}

/** Sends JSON text, or a form, to an address; answers 2xx, whose body is on its way, or throws a RefusedError. */
/** @param own headers of this request alone, over those of all */
export type Send = (
  url: string,
  body: string | FormBody,
  signal: AbortSignal,
  own?: Record<string, string>,
) => Promise<UpstreamResponse>

/**
 * The way out, on `undici.request`. It follows no redirect, and repeats nothing.
 *
 * The SDKs give the shapes of requests and answers, and stay out of the way itself: they take environment variables
 * for headers, and turn a connection that never stood into a time-out, so that nobody knows whether the request left.
 * Measured on Node 24.21, undici 8.12, openai 7.57, one core, 500-byte answers, CPU a call without connection setup:
 *   SDK `chat.completions.create` + undici.fetch          0.36–0.72 ms
 *   SDK `post().asResponse()`     + `undici.request`      0.18–0.22 ms
 *   `undici.request` alone                                0.04–0.08 ms
 *
 * @param options.maxBytes of an error's body
 */
export function createSend(options: {
  dispatcher: Dispatcher
  headers: Record<string, string>
  maxBytes: number
}): Send {
  const { dispatcher, headers, maxBytes } = options
  return async (url, body, signal, own) => {
    const response = await requestTracked(url, {
      method: 'POST',
      headers:
        typeof body !== 'string'
          ? { ...headers, ...own, ...headersOf(body) }
          : own === undefined
            ? headers
            : { ...headers, ...own },
      body: typeof body === 'string' ? body : body.open(),
      signal,
      dispatcher,
    })
    const status = response.statusCode
    const read = createHeaderReader(response.headers)
    const stream = await decodeContent(response.body, read.get('content-encoding'))
    const upstream = { status, headers: read, stream }
    if (status >= 200 && status < 300) return upstream
    const error = parseErrorBody(await readText(stream, maxBytes).catch(() => ''))
    throw new RefusedError({ status, headers: upstream.headers, error })
  }
}

function headersOf({ contentType, bytes }: FormBody): Record<string, string> {
  return { 'content-type': contentType, 'content-length': String(bytes) }
}

/** Reads a whole body as text, which is decoded and looked at as it comes. Not by `for await`, whose iterator costs as much as all else here. */
function readText(stream: Readable, maxBytes: number): Promise<string> {
  const decoder = new StringDecoder('utf8')
  const scanner = createAnswerScanner()
  let text = ''
  let size = 0
  return new Promise((resolve, reject) => {
    // Its end or its error may have come while we waited for its first byte. It is reported once.
    if (stream.readableEnded) return resolve('')
    if (stream.destroyed) return reject(stream.errored ?? new PrematureCloseError('the answer broke off'))
    function take(chunk: Buffer): void {
      size += chunk.length
      try {
        if (size > maxBytes) throw new AnswerTooLargeError(`the answer is larger than ${maxBytes} bytes`)
        scanner.push(chunk)
        text += decoder.write(chunk)
      } catch (error) {
        stream.off('data', take)
        stream.destroy()
        reject(error)
      }
    }
    stream.on('data', take)
    // JSON has no mark at its beginning, but some servers put one there.
    stream.on('end', () => resolve((text + decoder.end()).replace(/^\uFEFF/, '')))
    stream.on('error', reject)
    stream.on('close', () => {
      if (!stream.readableEnded && !stream.errored) reject(new PrematureCloseError('the answer broke off'))
    })
  })
}

/**
 * Reads a whole body as bytes, a piece at a time. @throws AnswerTooLargeError beyond `maxBytes`; the connection is then closed
 *
 * @param to.drained see ProviderRequest
 */
export async function readBytes(
  stream: Readable,
  maxBytes: number,
  to: { take: (piece: Buffer) => void; drained: ProviderRequest['drained'] },
): Promise<void> {
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length
    if (maxBytes < size) throw new AnswerTooLargeError(`the answer is larger than ${maxBytes} bytes`)
    to.take(chunk)
    await to.drained?.()
  }
}

/** The connection closed before the end of the answer, and nobody said why. */
class PrematureCloseError extends Error {
  readonly code = 'ERR_STREAM_PREMATURE_CLOSE'
}

/** Reads undici's header object, whose names are lower case already. */
function createHeaderReader(headers: Dispatcher.ResponseData['headers']): HeaderReader {
  return {
    get(name) {
      const value = headers[name.toLowerCase()]
      return value === undefined ? null : Array.isArray(value) ? value.join(', ') : value
    },
  }
}
