import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { Agent, type Dispatcher, request } from 'undici'
import { nextTurn } from '../lib/breathe.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource } from '../lib/json-source.ts'
import { AnswerTooLargeError, createAnswerScanner } from './answer-bounds.ts'
import type { HeaderReader } from './feedback.ts'

/** An upstream answer whose headers have come; the body is still on its way. */
export type UpstreamResponse = {
  readonly status: number
  readonly headers: HeaderReader
  readonly stream: Readable
}

/** Larger answers are cut, unless the provider's options say otherwise. */
export const DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024

const CONNECT_TIMEOUT_MS = 10_000

/** Thrown for an answer with an error status. */
export class RefusedError extends Error {
  readonly status: number
  readonly headers: HeaderReader | null
  /** The error object, as far as there is one. */
  readonly error: unknown

  constructor(refusal: { status: number; headers: HeaderReader | null; error: unknown }) {
    super(`the provider answered with status ${refusal.status}`)
    this.status = refusal.status
    this.headers = refusal.headers
    this.error = refusal.error
  }
}

/**
 * The connections to one provider. Each attempt has its own clock; undici's (300 s to the headers and between
 * chunks) would cut slow answers.
 */
export function createAgent(): Agent {
  return new Agent({
    connections: null,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 10_000,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  })
}

/** Answers of this length on, in characters, are parsed in a turn of the event loop of their own. */
const LARGE_ANSWER = 1024 * 1024

/**
 * Reads a whole body as JSON; an object keeps its text. Undefined where it is none.
 *
 * @throws AnswerTooLargeError beyond `maxBytes` or a bound of answer-bounds.ts; the connection is then closed, not drained
 */
export async function readJson(stream: Readable, maxBytes: number): Promise<unknown> {
  const text = await readText(stream, maxBytes)
  if (text.length < LARGE_ANSWER) return parseJson(text)
  await nextTurn()
  const value = parseJson(text)
  await nextTurn()
  return value
}

function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? keepSource(value, text) : value
  } catch {
    return undefined
  }
}

/** Whether the answer comes in pieces. */
export function isEventStream(response: UpstreamResponse): boolean {
  return response.headers.get('content-type')?.includes('text/event-stream') === true
}

/** A base URL without a slash at its end. */
export function trimUrl(url: string): string {
  return url.replace(/\/+$/, '')
}

/** Sends JSON text to an address; answers 2xx, whose body is on its way, or throws a RefusedError. */
export type Send = (url: string, body: string, signal: AbortSignal) => Promise<UpstreamResponse>

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
  dispatcher: Agent
  headers: Record<string, string>
  maxBytes: number
}): Send {
  const { dispatcher, headers, maxBytes } = options
  return async (url, body, signal) => {
    const response = await request(url, {
      method: 'POST',
      headers,
      body,
      signal,
      dispatcher,
    })
    const status = response.statusCode
    const upstream = { status, headers: createHeaderReader(response.headers), stream: response.body }
    if (status >= 200 && status < 300) return upstream
    const error = readErrorObject(await readJson(response.body, maxBytes).catch(() => undefined))
    throw new RefusedError({ status, headers: upstream.headers, error })
  }
}

/** Reads a whole body as text, which is decoded and looked at as it comes. */
async function readText(stream: Readable, maxBytes: number): Promise<string> {
  const decoder = new StringDecoder('utf8')
  const scanner = createAnswerScanner()
  const parts: string[] = []
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) throw new AnswerTooLargeError(`the answer is larger than ${maxBytes} bytes`)
    scanner.push(chunk)
    parts.push(decoder.write(chunk))
  }
  return parts.join('') + decoder.end()
}

/** The member `error` of a body; some servers send the error object itself, and Google sends it in a list. */
function readErrorObject(value: unknown): unknown {
  const body: unknown = Array.isArray(value) ? value[0] : value
  if (!isJsonObject(body)) return undefined
  return body.error === undefined ? body : withRequestId(body.error, body)
}

/** Puts the id that Anthropic's support asks for, and that stands beside the error, into it. */
export function withRequestId(error: JsonValue | undefined, beside: JsonObject): JsonValue | undefined {
  const { request_id: id } = beside
  return isJsonObject(error) && typeof id === 'string' ? { ...error, request_id: id } : error
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
