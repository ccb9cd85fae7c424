import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CallType } from '../lib/call-type.ts'
import { normalizeInputs } from '../lib/embedding-input.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { estimateCost } from '../providers/accounting.ts'
import { countImages, makesImages, takesAudio } from '../providers/endpoints.ts'
import {
  type AnswerPlan,
  buildChat,
  buildCompletion,
  buildEmbeddings,
  buildModeration,
  buildRerank,
  buildResponse,
  hashPrompt,
  listPrompts,
  planAnswer,
} from './answers.ts'
import { checkRequest } from './check.ts'
import { findDialect } from './dialects.ts'
import {
  invalidRequest,
  modelNotFound,
  rateLimited,
  toGeminiError,
  tooManyAtOnce,
  wrongKey,
} from './errors.ts'
import { listEvents } from './events.ts'
import type { FaultBook } from './faults.ts'
import { limitHeaders } from './limit-headers.ts'
import type { Admission, Level, Limiter, MediaCost } from './limiter.ts'
import type { SimulatedLimits, SimulatorSettings } from './options.ts'
import { buildPictures, listPictureEvents } from './pictures.ts'
import { createPromptCache } from './prompt-cache.ts'
import { readKey } from './read-key.ts'
import { createReply } from './reply.ts'
import { slowdownOf } from './self-hosted.ts'
import { type PreparedAnswer, sendAnswer, sendFaulty } from './send.ts'
import { prepareSpeech } from './speech.ts'
import type { Recorder } from './state.ts'
import { prepareTranscript } from './transcript.ts'
import { translate } from './translate.ts'

/** One model's limits, their state, and its calls in flight. */
export type ModelGate = { limits: SimulatedLimits; limiter: Limiter; inFlight: number }

export type CallDeps = {
  settings: SimulatorSettings
  faults: FaultBook
  recorder: Recorder
  /** The gates that count a call: its model's and those of its families; null: there is no such key. */
  gates: (model: string, key: string | null) => ModelGate[] | null
  random: () => number
  now: () => number
}

export type CallRequest = {
  request: IncomingMessage
  response: ServerResponse
  type: CallType
  /** The path in the form `/v1/…`, for every provider's form. */
  path: string
  /** Azure's deployment; null for other paths. */
  deployment: string | null
  text: string
}

/** Faults after which the provider still bills the call, because the work was done or in progress. */
const BILLED_FAULTS = new Set([
  'slow',
  'drip',
  'reset_after',
  'garbage',
  'wrong_shape',
  'truncated_stream',
  'error_in_stream',
  'huge',
  'endless',
])
/** Answers one call: admission, faults, checks, then the answer. Every admitted call counts. */
export function createCallHandler(deps: CallDeps): (call: CallRequest) => void {
  const { settings, recorder, now, random } = deps
  const promptCache = createPromptCache()
  let serial = 0

  return ({ request, response, type, path, deployment, text }) => {
    serial += 1
    const suffix = serial.toString(36).padStart(10, '0')
    const requestId = ['x-request-id', `req_${suffix}`]
    const body = parseBody(text)
    if (!body)
      return createReply(response, requestId).error(invalidRequest('We could not parse the JSON body.', null))
    const model = deployment ?? body.model
    if (typeof model !== 'string' || model === '') {
      return createReply(response, requestId).error(
        invalidRequest('you must provide a model parameter', 'model'),
      )
    }
    if (settings.models && !settings.models.includes(model)) {
      return createReply(response, requestId).error(modelNotFound(model))
    }

    const name =
      firstOf(request.headers['x-sim-dialect']) ?? settings.modelDialects[model] ?? settings.dialect
    const dialect = name === null ? null : findDialect(name)
    if (dialect === undefined) {
      return createReply(response, requestId).error(invalidRequest(`no such dialect: ${name}`, 'dialect'))
    }
    const key = readKey(request)
    const gates = deps.gates(model, key)
    if (gates === null) return createReply(response, requestId).error(wrongKey())
    const cost = estimateCost({ kind: 'openai', type, body })
    const crowded = gates.find(
      ({ limits, inFlight }) => limits.max_concurrency !== undefined && inFlight >= limits.max_concurrency,
    )
    const admittedAt = now()
    const admission = crowded ? null : admit(gates, cost.tokens, mediaCostOf(type, body), admittedAt)
    const levels = findTightest(gates, admittedAt)
    const reply = createReply(
      response,
      [
        ...requestId,
        'openai-version',
        '2020-10-01',
        'openai-processing-ms',
        String(settings.latencyMs),
        ...limitHeaders(settings.headers, levels, admittedAt),
      ],
      dialect?.error,
    )
    if (!admission) {
      recorder.reject('concurrency')
      return reply.error(tooManyAtOnce(crowded?.limits.max_concurrency ?? 0))
    }
    if (!admission.admitted) {
      const { by } = admission
      recorder.reject(by)
      const level = by === 'requests' || by === 'tokens' ? levels[by] : null
      const requested = by === 'requests' ? 1 : cost.tokens
      const refusal = rateLimited(admission, model, level?.limit ?? 0, requested)
      return reply.error(settings.headers === 'gemini' ? toGeminiError(refusal) : refusal, settings.headers)
    }
    recorder.admit(cost.tokens)
    for (const gate of gates) gate.inFlight += 1
    response.on('close', () => {
      for (const gate of gates) gate.inFlight -= 1
    })

    const unknown = dialect?.refuses
    if (unknown && body[unknown.member] !== undefined) {
      return reply.json(unknown.status, JSON.stringify(unknown.body(unknown.member)))
    }
    const fault = deps.faults.choose({
      path,
      text,
      key,
      header: firstOf(request.headers['x-sim-fault']) ?? undefined,
      prompts: () => listPrompts(type, body),
    })
    if (fault) recorder.fault(fault.kind)
    const pace = paceOf(settings, gates[0]!.inFlight)
    const latencyMs = pace.latencyMs + (settings.jitterMs > 0 ? settings.jitterMs * random() : 0)
    const refusal = checkRequest(type, body, text, settings.poison)
    if (refusal) return reply.later(latencyMs, () => reply.error(refusal))

    const promptHash = hashPrompt(type, model, body)
    if (!fault || BILLED_FAULTS.has(fault.kind)) {
      const ofKey = settings.keyLimits === null || key === null ? {} : { key }
      recorder.bill({
        path,
        model,
        prompt_hash: promptHash,
        tokens: cost.tokens,
        inputs: cost.inputs,
        ...ofKey,
      })
    }
    const cachedTokens =
      type === 'embedding' ? 0 : promptCache.read(model, body, admittedAt, admittedAt + latencyMs)
    const plan = planAnswer({
      type,
      body,
      model,
      cachedTokens,
      promptHash,
      inputTokens: cost.inputTokens,
      meanOutputTokens: settings.outputTokens,
      id: `${type === 'chat' ? 'chatcmpl-' : 'resp_'}${promptHash.slice(0, 16)}${suffix}`,
      created: Math.floor(now() / 1000),
    })
    const prepared = translate(
      prepare(type, body, plan, { ...settings, perTokenMs: pace.perTokenMs }, latencyMs),
      dialect,
    )
    if (settings.tokenCounting === 'used' && !fault) {
      const used = plan.inputTokens + plan.outputTokens
      response.on('close', () => {
        for (const { limiter } of gates) limiter.refund(cost.tokens - used, admittedAt, now())
      })
    }
    if (fault) sendFaulty(reply, prepared, fault, settings.hugeBytes)
    else sendAnswer(reply, prepared)
  }
}

/** The number of pictures and the seconds of sound of a call. */
function mediaCostOf(type: CallType, body: JsonObject): MediaCost {
  const seconds = takesAudio(type) && isJsonObject(body.file) ? body.file.seconds : 0
  return { images: countImages(type, body), audioSeconds: typeof seconds === 'number' ? seconds : 0 }
}

/** Takes the cost from all gates or from none. */
function admit(gates: readonly ModelGate[], tokens: number, media: MediaCost, now: number): Admission {
  for (const { limiter } of gates) {
    const admission = limiter.check(tokens, now, media)
    if (!admission.admitted) return admission
  }
  for (const { limiter } of gates) limiter.take(tokens, now, media)
  return { admitted: true }
}

/** Finds in each dimension the limit with the least left. If several limits apply, providers report that one. */
function findTightest(gates: readonly ModelGate[], now: number): ReturnType<Limiter['levels']> {
  const all = gates.map(({ limiter }) => limiter.levels(now))
  const find = (name: 'requests' | 'tokens') =>
    all.reduce<Level | null>((least, { [name]: level }) => {
      if (level === null || least === null) return level ?? least
      return level.remaining / level.limit < least.remaining / least.limit ? level : least
    }, null)
  return { requests: find('requests'), tokens: find('tokens') }
}

/** The speed of a call that begins while `calls` calls run. */
function paceOf(
  { selfHosted, latencyMs, perTokenMs }: SimulatorSettings,
  calls: number,
): { latencyMs: number; perTokenMs: number } {
  if (selfHosted === null) return { latencyMs, perTokenMs }
  const slow = slowdownOf(calls, selfHosted.knee)
  return { latencyMs: selfHosted.firstTokenMs * slow.first, perTokenMs: selfHosted.tokenMs * slow.token }
}

function prepare(
  type: CallType,
  body: JsonObject,
  plan: AnswerPlan,
  settings: SimulatorSettings,
  latencyMs: number,
): PreparedAnswer {
  const { perTokenMs } = settings
  if (type === 'speech') return { ...prepareSpeech(plan, body), plan, latencyMs, perTokenMs }
  if (takesAudio(type))
    return { ...prepareTranscript(plan, body, settings.chunkTokens), plan, latencyMs, perTokenMs }
  if (makesImages(type)) {
    if (body.stream === true) {
      return { text: '', pieces: listPictureEvents(plan, body), plan, latencyMs, perTokenMs }
    }
    const answer = buildPictures(plan, body)
    return { text: JSON.stringify(answer), pieces: null, plan, latencyMs, perTokenMs }
  }
  if (type === 'moderation' || type === 'rerank') {
    const answer = type === 'rerank' ? buildRerank(plan, body) : buildModeration(plan, body)
    return { text: JSON.stringify(answer), pieces: null, plan, latencyMs, perTokenMs }
  }
  if (type !== 'embedding') {
    if (body.stream === true) {
      return { text: '', pieces: listEvents(plan, body, settings.chunkTokens), plan, latencyMs, perTokenMs }
    }
    const answer =
      type === 'chat'
        ? buildChat(plan)
        : type === 'completion'
          ? buildCompletion(plan)
          : buildResponse(plan, body, 'done')
    const whole = latencyMs + perTokenMs * plan.outputTokens
    return { text: JSON.stringify(answer), pieces: null, plan, latencyMs: whole, perTokenMs }
  }
  const answer = buildEmbeddings(normalizeInputs(body) ?? [], {
    model: plan.model,
    dimensions: typeof body.dimensions === 'number' ? body.dimensions : settings.dimensions,
    base64: body.encoding_format === 'base64',
    inputTokens: plan.inputTokens,
  })
  return { text: JSON.stringify(answer), pieces: null, plan, latencyMs, perTokenMs }
}

/** A header's first value; null if the header is missing. */
function firstOf(header: string | string[] | undefined): string | null {
  return (Array.isArray(header) ? header[0] : header) ?? null
}

function parseBody(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : null
  } catch {
    return null
  }
}
