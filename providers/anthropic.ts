import type { Dispatcher } from 'undici'
import { longWorkTurn } from '../lib/breathe.ts'
import { isJsonObject, type JsonValue } from '../lib/json.ts'
import { hasLargeSource, keepSourcesAt, sourceOf } from '../lib/json-source.ts'
import { editMembers } from '../lib/json-text.ts'
import { listProxySecrets, type ProxySettings } from '../lib/proxy.ts'
import type { AnswerFormat } from './answer-format.ts'
import { toChatCompletion } from './anthropic-answer.ts'
import { createMessagesReader } from './anthropic-stream.ts'
import { writeMessages } from './anthropic-write.ts'
import { createAdapter, createAttempt } from './attempt.ts'
import { firstChoice } from './chat-to-response.ts'
import { type AnswerOutcome, invalidAnswer } from './classify.ts'
import { createAgent } from './connections.ts'
import { hasEndpoint } from './endpoints.ts'
import { judgeBody } from './judge-answer.ts'
import { createMessageReader } from './message-reader.ts'
import type { Provider, ProviderAnswer, ProviderRequest } from './provider.ts'
import { findError } from './provider-error.ts'
import { answerAsResponse } from './response-as-chat.ts'
import { readStream } from './streaming.ts'
import {
  createSend,
  DEFAULT_MAX_ANSWER_BYTES,
  isEventStream,
  readJson,
  trimUrl,
  type UpstreamResponse,
} from './transport.ts'
import { refuseRequest, refuseType, UnmappableError } from './unmappable.ts'
import type { OnUnsupported } from './unsupported.ts'
import { judgeError } from './verdict.ts'

export type AnthropicOptions = {
  name: string
  /** With or without the version: `https://api.anthropic.com`. */
  baseUrl: string
  apiKey: string
  /** The proxy for calls; none by default. */
  proxy?: ProxySettings | null
  /** Replaces the adapter's own connections. */
  dispatcher?: Dispatcher
  /** Sent with every request; these override our own headers. `anthropic-beta` goes here. */
  headers?: Record<string, string>
  /** Timeout of an attempt whose request sets none, ms. */
  defaultTimeoutMs: number
  /** Output cap where a request sets none; default 4096. */
  defaultMaxTokens?: number
  /** What to do with members that Anthropic has no counterpart for; default `refuse`. */
  onUnsupported?: OnUnsupported
  /** Larger answers are cut off and fail for good; default 64 MiB. */
  maxAnswerBytes?: number
  /** Unix milliseconds. */
  now?: () => number
}

const API_VERSION = '2023-06-01'
const DEFAULT_MAX_TOKENS = 4096

/**
 * Creates an adapter for Anthropic's Messages API. Chats are sent as messages and returned as chat completions, streamed or whole.
 * Responses are converted to chats first. Messages are sent and returned as their own text, except for `model` and `anthropic_beta`. A call
 * is one request. A chat that cannot be expressed fails before anything is sent.
 */
export function createAnthropicProvider(options: AnthropicOptions): Provider {
  const maxBytes = options.maxAnswerBytes ?? DEFAULT_MAX_ANSWER_BYTES
  const now = options.now ?? Date.now
  const onUnsupported = options.onUnsupported ?? 'refuse'
  const defaultMaxTokens = options.defaultMaxTokens ?? DEFAULT_MAX_TOKENS
  const url = `${trimUrl(options.baseUrl).replace(/\/v1$/, '')}/v1/messages`
  const attempt = createAttempt({
    defaultTimeoutMs: options.defaultTimeoutMs,
    secrets: [
      options.apiKey,
      ...Object.values(options.headers ?? {}),
      ...listProxySecrets(options.proxy ?? null),
    ],
    now,
  })
  const dispatcher = options.dispatcher ?? createAgent(options.proxy ?? null)
  const headers = buildHeaders(options)
  const send = createSend({ dispatcher, headers, maxBytes })

  async function answerCall(request: ProviderRequest): Promise<ProviderAnswer> {
    if (!hasEndpoint('anthropic', request.type)) return refuseType(request.type, 'anthropic')
    if (request.type === 'message') return answerMessage(request)
    return request.type === 'response' ? answerAsResponse(request, answerChat) : answerChat(request)
  }

  /** Sends the client's own text. Betas that the client sent as a header become a header again. */
  function sendSource(
    to: string,
    { model, body }: Pick<ProviderRequest, 'model' | 'body'>,
    signal: AbortSignal,
  ) {
    const edits = { model: JSON.stringify(model), anthropic_beta: null }
    const betas = joinBetas(headers['anthropic-beta'], body.anthropic_beta)
    return send(to, editMembers(sourceOf(body), edits), signal, betas)
  }

  function answerMessage(request: ProviderRequest): Promise<ProviderAnswer> {
    return attempt(request, {
      send: (signal) => sendSource(url, request, signal),
      read: (response) => readMessage(request, response, maxBytes),
    })
  }

  function countTokens(request: Omit<ProviderRequest, 'type'>): Promise<ProviderAnswer> {
    return attempt(
      { ...request, type: 'message' },
      {
        send: (signal) => sendSource(`${url}/count_tokens`, request, signal),
        read: async (response) => readCount(await readJson(response.stream, maxBytes)),
      },
    )
  }

  async function answerChat(request: ProviderRequest): Promise<ProviderAnswer> {
    try {
      const { model } = request
      const isLarge = hasLargeSource(request.body)
      if (isLarge) await longWorkTurn()
      const { text, format } = writeMessages(request.body, { model, defaultMaxTokens, onUnsupported })
      if (isLarge) await longWorkTurn()
      return await attempt(request, {
        send: (signal) => send(url, text, signal),
        read: async (response) => {
          const outcome = await readBody(request, response, Math.floor(now() / 1000), maxBytes)
          return format === null ? outcome : checkFormat(format, outcome, request.body.stream === true)
        },
      })
    } catch (error) {
      if (error instanceof UnmappableError) return refuseRequest(error)
      throw error
    }
  }

  return createAdapter({ name: options.name, dispatcher, answerCall, countTokens })
}

async function readBody(
  request: ProviderRequest,
  response: UpstreamResponse,
  created: number,
  maxBytes: number,
): Promise<AnswerOutcome> {
  if (await isEventStream(response)) {
    const { stream_options: asked } = request.body
    const reader = createMessagesReader({
      onDelta: (request.body.stream === true && request.onDelta) || ignoreDelta,
      ...(request.onUsage ? { onUsage: request.onUsage } : {}),
      forwardUsage: isJsonObject(asked) && asked.include_usage === true,
      created,
    })
    return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
  }
  const answer = await readJson(response.stream, maxBytes)
  if (!isJsonObject(answer)) return { ok: false, verdict: invalidAnswer('the answer is not a JSON object') }
  const error = findError(answer)
  if (error !== undefined) return { ok: false, verdict: judgeError(error, 'chat', false) }
  keepSourcesAt(answer, ['content', '*', 'input'])
  const body = toChatCompletion(answer, created)
  return body
    ? judgeBody('chat', body)
    : { ok: false, verdict: invalidAnswer('the answer has no list of content') }
}

async function readMessage(
  request: ProviderRequest,
  response: UpstreamResponse,
  maxBytes: number,
): Promise<AnswerOutcome> {
  if (!(await isEventStream(response))) return judgeBody('message', await readJson(response.stream, maxBytes))
  const reader = createMessageReader({
    onDelta: (request.body.stream === true && request.onDelta) || ignoreDelta,
    ...(request.onUsage ? { onUsage: request.onUsage } : {}),
  })
  return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
}

function readCount(body: unknown): AnswerOutcome {
  return isJsonObject(body) && typeof body.input_tokens === 'number'
    ? { ok: true, body }
    : { ok: false, verdict: invalidAnswer('the answer has no input_tokens') }
}

/** Joins the configuration's betas with those of the request, without duplicates. */
function joinBetas(
  configured: string | undefined,
  asked: JsonValue | undefined,
): Record<string, string> | undefined {
  if (asked === undefined || asked === null) return undefined
  const names = [configured ?? '', ...[asked].flat().map(String)].flatMap((text) => text.split(','))
  const betas = new Set(names.map((name) => name.trim()).filter((name) => name !== ''))
  return betas.size === 0 ? undefined : { 'anthropic-beta': [...betas].join(',') }
}

/** An answer that does not match the requested format fails. A streamed answer cannot be corrected any more. */
function checkFormat(format: AnswerFormat, outcome: AnswerOutcome, isStreamed: boolean): AnswerOutcome {
  if (!outcome.ok) return outcome
  const choice = firstChoice(outcome.body)
  const message = isJsonObject(choice.message) ? choice.message : {}
  if (choice.finish_reason !== 'stop' || typeof message.content !== 'string') return outcome
  const checked = format.check(message.content)
  if ('fault' in checked) return { ok: false, verdict: invalidAnswer(checked.fault) }
  if (isStreamed || checked.text === message.content) return outcome
  return {
    ...outcome,
    body: { ...outcome.body, choices: [{ ...choice, message: { ...message, content: checked.text } }] },
  }
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
