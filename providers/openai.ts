import type { Dispatcher } from 'undici'
import { normalizeInputs } from '../lib/embedding-input.ts'
import { takesFiles } from '../lib/input-files.ts'
import { isJsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { editMembers, findMember } from '../lib/json-text.ts'
import { listProxySecrets, type ProxySettings } from '../lib/proxy.ts'
import { type Addition, createRefusedAdditions, isPacked } from './additions.ts'
import { createAdapter, createAttempt } from './attempt.ts'
import type { AnswerOutcome } from './classify.ts'
import { createCompletionReader } from './completion-reader.ts'
import { createAgent } from './connections.ts'
import { isWithoutOutput, makesImages, takesAudio } from './endpoints.ts'
import { FileGoneError, type FormBody, writeForm } from './form-body.ts'
import { createImageReader } from './image-stream.ts'
import { chooseResponseFormat } from './images.ts'
import { judgeBody } from './judge-answer.ts'
import { answerAsMessage } from './message-as-chat.ts'
import { chatDialectOf } from './message-to-chat.ts'
import { listModerationTexts } from './moderation-request.ts'
import { buildHeaders, createUrls } from './openai-address.ts'
import type { Provider, ProviderAnswer, ProviderRequest } from './provider.ts'
import { readSpeech } from './speech.ts'
import { createChatReader, createResponseReader, readStream } from './streaming.ts'
import { readTranscript } from './transcript.ts'
import {
  createSend,
  DEFAULT_MAX_ANSWER_BYTES,
  isEventStream,
  RefusedError,
  readJson,
  type UpstreamResponse,
} from './transport.ts'
import { refuseFile } from './unmappable.ts'

export type OpenAiOptions = {
  name: string
  kind: 'openai' | 'openai-compatible' | 'azure-openai'
  /** With the version, as in `https://api.openai.com/v1`. Azure: the resource, or its `/openai/v1` for the v1 API. */
  baseUrl: string
  /** Empty for servers that need no key. */
  apiKey: string
  /** Azure only; its deployments API requires it. */
  apiVersion?: string
  /** The proxy for calls; none by default. */
  proxy?: ProxySettings | null
  /** Replaces the adapter's own connections. */
  dispatcher?: Dispatcher
  /** Sent with every request; these override our own headers. */
  headers?: Record<string, string>
  /** Timeout of an attempt whose request sets none, ms. */
  defaultTimeoutMs: number
  /** Larger answers are cut off and fail for good; default 64 MiB. */
  maxAnswerBytes?: number
  /** Unix milliseconds. */
  now?: () => number
}

/**
 * Creates an adapter for every server that speaks OpenAI's HTTP API. A call is one request, without retries or redirects. Bodies are sent
 * and returned as their own text, except for `model` and, on streamed chats, `stream_options.include_usage`.
 */
export function createOpenAiProvider(options: OpenAiOptions): Provider {
  const maxBytes = options.maxAnswerBytes ?? DEFAULT_MAX_ANSWER_BYTES
  const attempt = createAttempt({
    defaultTimeoutMs: options.defaultTimeoutMs,
    secrets: [
      options.apiKey,
      ...Object.values(options.headers ?? {}),
      ...listProxySecrets(options.proxy ?? null),
    ],
    now: options.now ?? Date.now,
  })
  const dispatcher = options.dispatcher ?? createAgent(options.proxy ?? null)
  const send = createSend({ dispatcher, headers: buildHeaders(options), maxBytes })
  const urlOf = createUrls(options)
  const refused = createRefusedAdditions(options.now ?? Date.now)

  const dialect = chatDialectOf(options.kind)

  async function answerCall(request: ProviderRequest): Promise<ProviderAnswer> {
    return request.type === 'message'
      ? answerAsMessage(request, dialect, answerDirectly)
      : answerDirectly(request)
  }

  async function answerDirectly(request: ProviderRequest): Promise<ProviderAnswer> {
    if (takesFiles(request.type)) return answerForm(request)
    const added = refused.choose(request)
    const first = await exchange(request, added)
    const blamed = refused.blame(added, first.answer, first.words)
    if (blamed.length === 0) return first.answer
    const second = await exchange(
      request,
      added.filter((addition) => !blamed.includes(addition)),
    )
    // If the call works without an addition, the addition was the cause. If it fails again, something else was.
    if (second.answer.ok) refused.remember(request, blamed)
    return second.answer
  }

  /** Sends a call whose body is a form with files. */
  async function answerForm(request: ProviderRequest): Promise<ProviderAnswer> {
    const format = chooseResponseFormat(request)
    const changes = { model: request.model, ...(format === null ? {} : { response_format: format }) }
    let form: FormBody
    try {
      form = await writeForm(request.type, request.body, changes, request.openFile ?? (async () => null))
    } catch (error) {
      if (error instanceof FileGoneError) return refuseFile(error)
      throw error
    }
    return attempt(request, {
      send: (signal) => send(urlOf(request), form, signal),
      read: (response) => readBody(request, response, false, maxBytes),
    })
  }

  /** Sends one call. Also returns the error text, for finding a refused addition. */
  async function exchange(
    request: ProviderRequest,
    added: readonly Addition[],
  ): Promise<{ answer: ProviderAnswer; words: string }> {
    let words = ''
    const answer = await attempt(request, {
      async send(signal) {
        try {
          return await send(urlOf(request), buildBody(request, added), signal)
        } catch (error) {
          if (error instanceof RefusedError) words = JSON.stringify(error.error) ?? ''
          throw error
        }
      },
      read: (response) => readBody(request, response, added.includes('stream_options'), maxBytes),
    })
    if (words === '' && !answer.ok) words = JSON.stringify([answer.message, answer.providerError])
    return { answer, words }
  }

  return createAdapter({ name: options.name, dispatcher, answerCall, countTokens: null })
}

async function readBody(
  request: ProviderRequest,
  response: UpstreamResponse,
  addsUsage: boolean,
  maxBytes: number,
): Promise<AnswerOutcome> {
  const { type } = request
  if (type === 'speech') return readSpeech(request, response, maxBytes)
  if (takesAudio(type)) return readTranscript(request, response, maxBytes)
  // A server that cannot stream answers in one piece, and some servers stream without being asked to.
  if (!isWithoutOutput(type) && (await isEventStream(response))) {
    const onDelta = (request.body.stream === true && request.onDelta) || ignoreDelta
    const tellsUsage = request.onUsage ? { onUsage: request.onUsage } : {}
    if (makesImages(type)) {
      const reader = createImageReader(request, onDelta)
      return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
    }
    const reader =
      type === 'chat'
        ? createChatReader({ onDelta, ...tellsUsage, forwardUsage: !addsUsage })
        : type === 'completion'
          ? createCompletionReader({ onDelta, ...tellsUsage, forwardUsage: !addsUsage })
          : createResponseReader({ onDelta, ...tellsUsage })
    return readStream({ stream: response.stream, reader, maxBytes, drained: request.drained })
  }
  const body = await readJson(response.stream, maxBytes)
  return judgeBody(type, body, countInputs(request))
}

/** Expected number of vectors or results; null: another type, or an unusual shape. */
function countInputs({ type, body }: ProviderRequest): number | null {
  if (type === 'embedding') return normalizeInputs(body)?.length ?? null
  return type === 'moderation' ? (listModerationTexts(body)?.length ?? null) : null
}

/** The client's text with the fewest changes. */
function buildBody(request: ProviderRequest, added: readonly Addition[]): string {
  const edits: Record<string, string | null> = { model: JSON.stringify(request.model) }
  // Sluice itself runs every job in the background. Upstream, `background` would return before the response is done.
  if (request.type === 'response') edits.background = null
  if (request.serviceTier !== undefined) {
    edits.service_tier = request.serviceTier === null ? null : JSON.stringify(request.serviceTier)
  }
  if (request.type === 'image') {
    const format = chooseResponseFormat(request)
    if (format !== null) edits.response_format = JSON.stringify(format)
  }
  const packs = request.type === 'embedding' && isPacked(request.body)
  if (packs && !added.includes('encoding_format')) edits.encoding_format = null
  const text = sourceOf(request.body)
  if (added.includes('stream_options')) {
    const given = isJsonObject(request.body.stream_options) ? findMember(text, 'stream_options') : undefined
    edits.stream_options = editMembers(given ?? '{}', { include_usage: 'true' })
  }
  return editMembers(text, edits)
}

function ignoreDelta(): void {}
