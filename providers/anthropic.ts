import { isJsonObject } from '../lib/json.ts'
import { keepSourcesAt } from '../lib/json-source.ts'
import { toChatCompletion } from './anthropic-answer.ts'
import { createMessagesReader } from './anthropic-stream.ts'
import { writeMessages } from './anthropic-write.ts'
import { createAdapter, createAttempt } from './attempt.ts'
import { invalidAnswer, type Outcome } from './classify.ts'
import type { Provider, ProviderAnswer, ProviderRequest } from './provider.ts'
import { readStream } from './streaming.ts'
import {
  createAgent,
  createSend,
  DEFAULT_MAX_ANSWER_BYTES,
  isEventStream,
  readJson,
  trimUrl,
  type UpstreamResponse,
  withRequestId,
} from './transport.ts'
import { refuseRequest, refuseType, UnmappableError } from './unmappable.ts'
import { judgeError } from './verdict.ts'

export type AnthropicOptions = {
  name: string
  /** With or without the version: `https://api.anthropic.com`. */
  baseUrl: string
  apiKey: string
  /** Sent with every request, over our own; `anthropic-beta` goes here. */
  headers?: Record<string, string>
  /** Milliseconds for an attempt whose request names none. */
  defaultTimeoutMs: number
  /** The cap on output where a request names none; default 4096. */
  defaultMaxTokens?: number
  /** Larger answers are cut and final; default 64 MiB. */
  maxAnswerBytes?: number
  /** Unix milliseconds. */
  now?: () => number
}

const API_VERSION = '2023-06-01'
const DEFAULT_MAX_TOKENS = 4096

/**
 * An adapter for Anthropic's Messages API: chats go out as messages and come back as chat completions, streamed or
 * whole. One request a call. What a chat asks for and Anthropic has no word for fails before anything is sent.
 */
export function createAnthropicProvider(options: AnthropicOptions): Provider {
  const maxBytes = options.maxAnswerBytes ?? DEFAULT_MAX_ANSWER_BYTES
  const now = options.now ?? Date.now
  const defaultMaxTokens = options.defaultMaxTokens ?? DEFAULT_MAX_TOKENS
  const url = `${trimUrl(options.baseUrl).replace(/\/v1$/, '')}/v1/messages`
  const attempt = createAttempt({
    defaultTimeoutMs: options.defaultTimeoutMs,
    secrets: [options.apiKey, ...Object.values(options.headers ?? {})],
    now,
  })
  const dispatcher = createAgent()
  const send = createSend({ dispatcher, headers: buildHeaders(options), maxBytes })

  async function answerCall(request: ProviderRequest): Promise<ProviderAnswer> {
    if (request.type !== 'chat') return refuseType(request.type, 'anthropic')
    try {
      const body = writeMessages(request.body, { model: request.model, defaultMaxTokens })
      return await attempt(request, {
        send: (signal) => send(url, body, signal),
        read: (response) => readBody(request, response, Math.floor(now() / 1000), maxBytes),
      })
    } catch (error) {
      if (error instanceof UnmappableError) return refuseRequest(error)
      throw error
    }
  }

  return createAdapter({ name: options.name, dispatcher, answerCall })
}

async function readBody(
  request: ProviderRequest,
  response: UpstreamResponse,
  created: number,
  maxBytes: number,
): Promise<Outcome> {
  if (request.body.stream === true && isEventStream(response)) {
    const { stream_options: asked } = request.body
    const reader = createMessagesReader({
      onDelta: request.onDelta ?? ignoreDelta,
      forwardUsage: isJsonObject(asked) && asked.include_usage === true,
      created,
    })
    return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
  }
  const answer = await readJson(response.stream, maxBytes)
  if (!isJsonObject(answer)) return { ok: false, verdict: invalidAnswer('the answer is not a JSON object') }
  if (answer.error) {
    return { ok: false, verdict: judgeError(withRequestId(answer.error, answer), 'chat', false) }
  }
  keepSourcesAt(answer, ['content', '*', 'input'])
  const body = toChatCompletion(answer, created)
  return body
    ? { ok: true, body }
    : { ok: false, verdict: invalidAnswer('the answer has no list of content') }
}

function buildHeaders(options: AnthropicOptions): Record<string, string> {
  const headers: Record<string, string> = {
    accept: 'application/json, text/event-stream',
    'anthropic-version': API_VERSION,
    'content-type': 'application/json',
    'user-agent': 'sluice',
    'x-api-key': options.apiKey,
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = value
  return headers
}

function ignoreDelta(): void {}
