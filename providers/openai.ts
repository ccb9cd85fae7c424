import { APIError, APIUserAbortError, AzureOpenAI, OpenAI } from 'openai'
import { Agent } from 'undici'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { findAnswerFault, readUsage } from './answer.ts'
import {
  aborted,
  classifyConnectionError,
  classifyErrorObject,
  classifyStatus,
  invalidAnswer,
  readProviderError,
  redact,
  redactProviderError,
  timedOut,
  type Verdict,
  withProviderError,
} from './classify.ts'
import { normalizeInputs } from './embeddings.ts'
import { type HeaderReader, readFeedback } from './feedback.ts'
import type { CallType, Provider, ProviderAnswer, ProviderRequest } from './provider.ts'
import { readStream } from './streaming.ts'
import {
  AnswerTooLargeError,
  createFetch,
  readText,
  readUpstream,
  type UpstreamResponse,
} from './transport.ts'

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
const DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024
/** The longest that Node's timers can wait; longer ones fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1
const CONNECT_TIMEOUT_MS = 10_000

/**
 * An adapter for everything that speaks OpenAI's HTTP API. One request a call: no retries, no redirects. Bodies go
 * out and come back as they are, but for `model` and, on streamed chats, `stream_options.include_usage`.
 */
export function createOpenAiProvider(options: OpenAiOptions): Provider {
  const maxBytes = options.maxAnswerBytes ?? DEFAULT_MAX_ANSWER_BYTES
  const now = options.now ?? Date.now
  const secrets = [options.apiKey, ...Object.values(options.headers ?? {})].filter(
    (secret) => secret.length >= 8,
  )
  // Each attempt has its own clock; undici's (300 s to the headers and between chunks) would cut slow answers.
  const dispatcher = new Agent({
    connections: null,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 10_000,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  })
  const fetch = createFetch({ dispatcher, headers: buildHeaders(options), maxBytes })
  const client = createClient(options, fetch)
  /** Turned off for good when the server refuses `stream_options`, which only our wish for usage added. */
  let asksForUsage = true

  const underWay = new Set<Promise<ProviderAnswer>>()

  function call(request: ProviderRequest): Promise<ProviderAnswer> {
    const answer = answerCall(request).finally(() => underWay.delete(answer))
    underWay.add(answer)
    return answer
  }

  async function answerCall(request: ProviderRequest): Promise<ProviderAnswer> {
    const wantsUsage =
      request.type === 'chat' && request.body.stream === true && !clientAsksForUsage(request.body)
    const addsUsage = wantsUsage && asksForUsage
    const answer = await attempt(request, addsUsage)
    if (!addsUsage || answer.ok || answer.class !== 'final') return answer
    if (!answer.message.includes('stream_options')) return answer
    asksForUsage = false
    return attempt(request, false)
  }

  /**
   * Sends a request to where the SDK would send it. All that differs between two requests of one path is the body, so
   * the SDK's planning of each (headers, which are ours anyway, timers, retries that are off) is left out: a third of
   * a worker's CPU. Azure's paths depend on the body, and go the SDK's whole way. Throws the SDK's errors.
   */
  async function post(path: string, body: JsonObject, signal: AbortSignal): Promise<UpstreamResponse> {
    if (client instanceof AzureOpenAI) {
      return readUpstream(await client.post(path, { body, signal }).asResponse())
    }
    const url = client.buildURL(path, {})
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), signal })
    if (response.ok) return readUpstream(response)
    const text = await response.text().catch((error: Error) => error.message)
    const parsed = parseJson(text)
    const error = isJsonObject(parsed) ? parsed : undefined
    throw APIError.generate(response.status, error, error ? undefined : text, response.headers)
  }

  async function attempt(request: ProviderRequest, addsUsage: boolean): Promise<ProviderAnswer> {
    let response: UpstreamResponse | null = null
    const fail = (verdict: Verdict, status: number | null, headers: HeaderReader | null): ProviderAnswer => ({
      ok: false,
      ...verdict,
      message: redact(verdict.message, secrets),
      status,
      feedback: headers ? readFeedback(headers, now()) : {},
      ...(verdict.providerError
        ? { providerError: redactProviderError(verdict.providerError, secrets) }
        : {}),
    })
    if (request.signal.aborted) return fail(aborted(false), null, null)

    const controller = new AbortController()
    let isTimeUp = false
    const timeoutMs = request.timeoutMs > 0 ? request.timeoutMs : options.defaultTimeoutMs
    const timer = setTimeout(
      () => {
        isTimeUp = true
        stop()
      },
      Math.min(timeoutMs, MAX_TIMER_MS),
    )
    function stop(): void {
      controller.abort()
      response?.stream.destroy()
    }
    request.signal.addEventListener('abort', stop, { once: true })

    try {
      const body = buildBody(request, addsUsage)
      response = await post(PATHS[request.type], body, controller.signal)
      const outcome = await readBody(request, response, addsUsage, maxBytes)
      // An answer that turns out bad after the call was stopped is not the provider's fault.
      if (!outcome.ok && isTimeUp) return fail(timedOut(), response.status, response.headers)
      if (!outcome.ok && request.signal.aborted) return fail(aborted(true), response.status, response.headers)
      if (!outcome.ok) return fail(outcome.verdict, response.status, response.headers)
      return {
        ok: true,
        status: response.status,
        body: outcome.body,
        usage: readUsage(outcome.body),
        feedback: readFeedback(response.headers, now()),
      }
    } catch (error) {
      if (response) response.stream.destroy()
      if (error instanceof APIError && typeof error.status === 'number') {
        if (request.signal.aborted) return fail(aborted(true), error.status, null)
        const verdict = classifyStatus(error.status, readProviderError(error.error), request.type)
        return fail(withProviderError(verdict, error.error), error.status, error.headers ?? null)
      }
      const status = response?.status ?? null
      const headers = response?.headers ?? null
      if (isTimeUp) return fail(timedOut(), status, headers)
      if (request.signal.aborted || error instanceof APIUserAbortError)
        return fail(aborted(true), status, headers)
      if (error instanceof AnswerTooLargeError) return fail(answerTooLarge(error), status, headers)
      return fail(classifyConnectionError(error), status, headers)
    } finally {
      clearTimeout(timer)
      request.signal.removeEventListener('abort', stop)
    }
  }

  return {
    name: options.name,
    call,
    async close() {
      // A call may not have reached the dispatcher yet, which refuses what comes after its close.
      await Promise.allSettled(underWay)
      await dispatcher.close()
    },
  }
}

type Outcome = { ok: true; body: JsonObject } | { ok: false; verdict: Verdict }

async function readBody(
  request: ProviderRequest,
  response: UpstreamResponse,
  addsUsage: boolean,
  maxBytes: number,
): Promise<Outcome> {
  const { type } = request
  // A server that cannot stream answers in one piece, as its content type says.
  const isStream = response.headers.get('content-type')?.includes('text/event-stream') === true
  if (request.body.stream === true && type !== 'embedding' && isStream) {
    const outcome = await readStream({
      type,
      stream: response.stream,
      onDelta: request.onDelta ?? ignoreDelta,
      forwardUsage: !addsUsage,
      maxBytes,
    })
    return outcome.ok ? checkBody(type, outcome.body, null) : outcome
  }
  const body = parseJson(await readText(response.stream, maxBytes))
  if (!isJsonObject(body)) return { ok: false, verdict: invalidAnswer('the answer is not a JSON object') }
  const inputs = type === 'embedding' ? (normalizeInputs(request.body)?.length ?? null) : null
  return checkBody(type, body, inputs)
}

function checkBody(type: CallType, body: JsonObject, inputs: number | null): Outcome {
  const isFailed = type === 'response' && body.status === 'failed'
  // A Response carries `error: null` when all is well.
  if (body.error || isFailed) {
    const verdict = classifyErrorObject(readProviderError(body.error), type, false)
    return { ok: false, verdict: withProviderError(verdict, body.error) }
  }
  if (type === 'response' && (body.status === 'queued' || body.status === 'in_progress')) {
    return { ok: false, verdict: unfinished() }
  }
  const fault = findAnswerFault(type, body, inputs)
  return fault === null ? { ok: true, body } : { ok: false, verdict: invalidAnswer(fault) }
}

function buildBody(request: ProviderRequest, addsUsage: boolean): JsonObject {
  const body: JsonObject = { ...request.body, model: request.model }
  if (addsUsage) {
    const given = isJsonObject(body.stream_options) ? body.stream_options : {}
    body.stream_options = { ...given, include_usage: true }
  }
  return body
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

/** Every option that the SDK would otherwise read from the environment is given. */
function createClient(options: OpenAiOptions, fetch: typeof globalThis.fetch): OpenAI {
  const shared = {
    apiKey: options.apiKey || 'none',
    adminAPIKey: null,
    webhookSecret: null,
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: MAX_TIMER_MS,
    logLevel: 'off' as const,
    fetch,
  }
  const baseURL = options.baseUrl.replace(/\/+$/, '')
  if (options.kind !== 'azure-openai' || /\/openai\/v1$/.test(baseURL))
    return new OpenAI({ ...shared, baseURL })
  return new AzureOpenAI({
    ...shared,
    baseURL: /\/openai(?:\/|$)/.test(new URL(baseURL).pathname) ? baseURL : `${baseURL}/openai`,
    apiVersion: options.apiVersion ?? DEFAULT_API_VERSION,
  })
}

function answerTooLarge(error: AnswerTooLargeError): Verdict {
  return { class: 'final', code: 'answer_too_large', message: error.message, ambiguous: true, input: false }
}

/** `background: true` went upstream, where the work goes on; asking again would buy it twice. */
function unfinished(): Verdict {
  const message = 'the provider answered before the response was finished: `background` is not for upstream'
  return { class: 'final', code: 'unfinished_response', message, ambiguous: true, input: false }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function ignoreDelta(): void {}
