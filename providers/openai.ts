import { normalizeInputs } from '../lib/embedding-input.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { editMembers, findMember } from '../lib/json-text.ts'
import { findAnswerFault } from './answer.ts'
import { createAdapter, createAttempt } from './attempt.ts'
import { invalidAnswer, type Outcome, type Verdict } from './classify.ts'
import type { CallType, Provider, ProviderAnswer, ProviderRequest } from './provider.ts'
import { createChatReader, createResponseReader, readStream } from './streaming.ts'
import {
  createAgent,
  createSend,
  DEFAULT_MAX_ANSWER_BYTES,
  isEventStream,
  readJson,
  trimUrl,
  type UpstreamResponse,
} from './transport.ts'
import { judgeError } from './verdict.ts'

export type OpenAiOptions = {
  name: string
  kind: 'openai' | 'openai-compatible' | 'azure-openai'
  /** With the version, as in `https://api.openai.com/v1`. Azure: the resource, or its `/openai/v1` for the v1 API. */
  baseUrl: string
  /** Empty for servers that ask for none. */
  apiKey: string
  /** Azure only; its deployments API does not answer without. */
  apiVersion?: string
  /** Sent with every request, over our own. */
  headers?: Record<string, string>
  /** Milliseconds for an attempt whose request names none. */
  defaultTimeoutMs: number
  /** Larger answers are cut and final; default 64 MiB. */
  maxAnswerBytes?: number
  /** Unix milliseconds. */
  now?: () => number
}

const PATHS: Record<CallType, string> = {
  chat: '/chat/completions',
  response: '/responses',
  embedding: '/embeddings',
}
const DEFAULT_API_VERSION = '2024-10-21'

/**
 * An adapter for everything that speaks OpenAI's HTTP API. One request a call: no retries, no redirects. Bodies go
 * out and come back as the text that they are, but for `model` and, on streamed chats, `stream_options.include_usage`.
 */
export function createOpenAiProvider(options: OpenAiOptions): Provider {
  const maxBytes = options.maxAnswerBytes ?? DEFAULT_MAX_ANSWER_BYTES
  const attempt = createAttempt({
    defaultTimeoutMs: options.defaultTimeoutMs,
    secrets: [options.apiKey, ...Object.values(options.headers ?? {})],
    now: options.now ?? Date.now,
  })
  const dispatcher = createAgent()
  const send = createSend({ dispatcher, headers: buildHeaders(options), maxBytes })
  const urlOf = createUrls(options)
  /** Turned off for good when the server refuses `stream_options`, which only our wish for usage added. */
  let asksForUsage = true

  async function answerCall(request: ProviderRequest): Promise<ProviderAnswer> {
    const wantsUsage =
      request.type === 'chat' && request.body.stream === true && !clientAsksForUsage(request.body)
    const addsUsage = wantsUsage && asksForUsage
    const answer = await exchange(request, addsUsage)
    if (!addsUsage || answer.ok || answer.class !== 'final') return answer
    if (!answer.message.includes('stream_options')) return answer
    asksForUsage = false
    return exchange(request, false)
  }

  function exchange(request: ProviderRequest, addsUsage: boolean): Promise<ProviderAnswer> {
    return attempt(request, {
      send: (signal) => send(urlOf(request), buildBody(request, addsUsage), signal),
      read: (response) => readBody(request, response, addsUsage, maxBytes),
    })
  }

  return createAdapter({ name: options.name, dispatcher, answerCall })
}

async function readBody(
  request: ProviderRequest,
  response: UpstreamResponse,
  addsUsage: boolean,
  maxBytes: number,
): Promise<Outcome> {
  const { type } = request
  // A server that cannot stream answers in one piece, as its content type says.
  if (request.body.stream === true && type !== 'embedding' && isEventStream(response)) {
    const onDelta = request.onDelta ?? ignoreDelta
    const tellsUsage = request.onUsage ? { onUsage: request.onUsage } : {}
    const reader =
      type === 'chat'
        ? createChatReader({ onDelta, ...tellsUsage, forwardUsage: !addsUsage })
        : createResponseReader({ onDelta, ...tellsUsage })
    const outcome = await readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
    return outcome.ok ? checkBody(type, outcome.body, null) : outcome
  }
  const body = await readJson(response.stream, maxBytes)
  if (!isJsonObject(body)) return { ok: false, verdict: invalidAnswer('the answer is not a JSON object') }
  const inputs = type === 'embedding' ? (normalizeInputs(request.body)?.length ?? null) : null
  return checkBody(type, body, inputs)
}

function checkBody(type: CallType, body: JsonObject, inputs: number | null): Outcome {
  const isFailed = type === 'response' && body.status === 'failed'
  // A Response carries `error: null` when all is well.
  if (body.error || isFailed) return { ok: false, verdict: judgeError(body.error, type, false) }
  if (type === 'response' && (body.status === 'queued' || body.status === 'in_progress')) {
    return { ok: false, verdict: unfinished() }
  }
  const fault = findAnswerFault(type, body, inputs)
  return fault === null ? { ok: true, body } : { ok: false, verdict: invalidAnswer(fault) }
}

/** The client's text with as little changed as there has to be. */
function buildBody(request: ProviderRequest, addsUsage: boolean): string {
  const edits: Record<string, string | null> = { model: JSON.stringify(request.model) }
  // Every job is in the background here; upstream it would be answered before it is done.
  if (request.type === 'response') edits.background = null
  const text = sourceOf(request.body)
  if (addsUsage) {
    const given = isJsonObject(request.body.stream_options) ? findMember(text, 'stream_options') : undefined
    edits.stream_options = editMembers(given ?? '{}', { include_usage: 'true' })
  }
  return editMembers(text, edits)
}

function clientAsksForUsage(body: JsonObject): boolean {
  return isJsonObject(body.stream_options) && body.stream_options.include_usage === true
}

function buildHeaders(options: OpenAiOptions): Record<string, string> {
  const headers: Record<string, string> = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'user-agent': 'sluice',
  }
  if (options.apiKey && options.kind === 'azure-openai') headers['api-key'] = options.apiKey
  else if (options.apiKey) headers.authorization = `Bearer ${options.apiKey}`
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = value
  return headers
}

/**
 * Where each call goes. Azure's deployments API names the deployment in the path of all but Responses, and the
 * version in the query; its v1 API is as OpenAI's (Azure OpenAI, "REST API reference").
 */
function createUrls(options: OpenAiOptions): (request: ProviderRequest) => string {
  const base = trimUrl(options.baseUrl)
  if (options.kind !== 'azure-openai' || /\/openai\/v1$/.test(base)) return ({ type }) => base + PATHS[type]
  const root = /\/openai(?:\/|$)/.test(new URL(base).pathname) ? base : `${base}/openai`
  const version = encodeURIComponent(options.apiVersion ?? DEFAULT_API_VERSION)
  return ({ type, model }) => {
    const deployment = type === 'response' ? '' : `/deployments/${encodeURIComponent(model)}`
    return `${root}${deployment}${PATHS[type]}?api-version=${version}`
  }
}

/** `background: true` went upstream, where the work goes on; asking again would buy it twice. */
function unfinished(): Verdict {
  const message = 'the provider answered before the response was finished: `background` is not for upstream'
  return { class: 'final', code: 'unfinished_response', message, ambiguous: true, input: false }
}

function ignoreDelta(): void {}
