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

/** An upstream answer whose headers have come; the body is still arriving. */
export type UpstreamResponse = {
  readonly status: number
  readonly headers: HeaderReader
  readonly stream: Readable
}

/** Larger answers are cut off, unless the provider's options say otherwise. */
export const DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** Thrown for an answer with an error status. */
export class RefusedError extends Error {
  readonly status: number
  readonly headers: HeaderReader | null
  /** The error object, or the text that came instead; undefined where there is none. */
  readonly error: unknown

  constructor(refusal: { status: number; headers: HeaderReader | null; error: unknown }) {
    super(`the provider answered with status ${refusal.status}`)
    this.status = refusal.status
    this.headers = refusal.headers
    this.error = refusal.error
  }
}

/** Answers of this many characters or more are parsed in slices, with turns of the event loop between them. */
const LARGE_ANSWER = 1024 * 1024

/**
 * Reads a whole body as JSON. An object keeps its text. Undefined where it is not JSON.
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
 * Whether the answer is an event stream. Its first byte decides: servers and proxies send streams under every content type, and JSON as
 * `text/event-stream`. Where the body is empty, the content type decides.
 */
export async function isEventStream(response: UpstreamResponse): Promise<boolean> {
  const first = await peekText(response.stream)
  if (first === '{' || first === '[' || first === '<') return false
  if (first !== null && ':deir'.includes(first)) return true
  return /text\/event-stream/i.test(response.headers.get('content-type') ?? '')
}

/** The base URL without trailing slashes. */
export function trimUrl(url: string): string {
  return url.replace(/\/+$/, '')
}

/**
 * Sends JSON text or a form to a URL. Resolves for a 2xx, whose body is still arriving; otherwise throws a RefusedError.
 *
 * @param own headers of this request only; they override the common ones
 */
export type Send = (
  url: string,
  body: string | FormBody,
  signal: AbortSignal,
  own?: Record<string, string>,
) => Promise<UpstreamResponse>

/**
 * Sends requests with `undici.request`. Follows no redirects and retries nothing.
 *
 * The SDKs define the shapes of requests and answers, but are not used for sending: they read headers from environment variables, and
 * report a connection that never opened as a timeout, so that nobody knows whether the request was sent. Measured on Node 24.21, undici
 * 8.12, openai 7.57, one core, 500-byte answers, CPU a call without connection setup:
 *   SDK `chat.completions.create` + undici.fetch          0.36–0.72 ms
 *   SDK `post().asResponse()`     + `undici.request`      0.18–0.22 ms
 *   `undici.request` alone                                0.04–0.08 ms
 *
 * @param options.maxBytes limit for the body of an error
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

/**
 * Reads a whole body as text; it is decoded and scanned as it arrives. Without `for await`, whose iterator costs as much as all the rest.
 */
export function readText(stream: Readable, maxBytes: number): Promise<string> {
  const decoder = new StringDecoder('utf8')
  const scanner = createAnswerScanner()
  let text = ''
  let size = 0
  return new Promise((resolve, reject) => {
    // The end or an error may have come while we waited for the first byte. It is emitted once.
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
    // JSON has no byte order mark, but some servers send one.
    stream.on('end', () => resolve((text + decoder.end()).replace(/^\uFEFF/, '')))
    stream.on('error', reject)
    stream.on('close', () => {
      if (!stream.readableEnded && !stream.errored) reject(new PrematureCloseError('the answer broke off'))
    })
  })
}

/**
 * Reads a whole body as bytes, piece by piece.
 *
 * @param to.drained see ProviderRequest
 * @throws AnswerTooLargeError beyond `maxBytes`; the connection is then closed
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

/** The connection closed before the end of the answer, without an error. */
class PrematureCloseError extends Error {
  readonly code = 'ERR_STREAM_PREMATURE_CLOSE'
}

/** Reads undici's header object, whose names are in lower case. */
function createHeaderReader(headers: Dispatcher.ResponseData['headers']): HeaderReader {
  return {
    get(name) {
      const value = headers[name.toLowerCase()]
      return value === undefined ? null : Array.isArray(value) ? value.join(', ') : value
    },
  }
}
