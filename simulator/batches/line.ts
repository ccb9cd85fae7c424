import type { CallType } from '../../lib/call-type.ts'
import { normalizeInputs } from '../../lib/embedding-input.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { estimateCost } from '../../providers/accounting.ts'
import {
  type AnswerPlan,
  buildChat,
  buildEmbeddings,
  buildResponse,
  hashPrompt,
  listPrompts,
  planAnswer,
} from '../answers.ts'
import { checkRequest } from '../check.ts'
import { type ErrorAnswer, faultAnswer } from '../errors.ts'
import { type FaultBook, LINE_PATH } from '../faults.ts'
import type { SimulatorSettings } from '../options.ts'
import type { Recorder } from '../state.ts'

/** One request of a batch, in the form of a call. */
export type LineRequest = { customId: string; type: CallType; path: string; model: string; body: JsonObject }

/** How a line ended. `lost`: it is missing from the results. `zero`: it comes back with status 0. */
export type LineOutcome =
  | { kind: 'answer'; plan: AnswerPlan; body: JsonObject }
  | { kind: 'error'; status: number; error: JsonObject }
  | { kind: 'lost' | 'zero' | 'null' | 'expired' }

const PATHS: Record<string, CallType> = {
  '/v1/chat/completions': 'chat',
  '/v1/responses': 'response',
  '/v1/embeddings': 'embedding',
}

/** The call type of a batch's endpoint; undefined: there is no such endpoint. */
export function readEndpoint(endpoint: JsonValue | undefined): CallType | undefined {
  return typeof endpoint === 'string'
    ? PATHS[endpoint.startsWith('/v1/') ? endpoint : `/v1${endpoint}`]
    : undefined
}

/** The tokens that a line takes from its model's queue limit. */
export function countLine({ type, body }: LineRequest): number {
  return estimateCost({ kind: 'openai', type, body }).inputTokens
}

const LINE_FAULTS: Record<string, 'lost' | 'zero' | 'null' | 'expired'> = {
  lost_line: 'lost',
  zero_line: 'zero',
  null_line: 'null',
  expired_line: 'expired',
}

/** Runs one line: its fault, its checks, its answer. Bills what a provider would bill. */
export function createLineRunner(deps: {
  settings: SimulatorSettings
  faults: FaultBook
  recorder: Recorder
  now: () => number
}): (line: LineRequest, batch: string) => LineOutcome {
  const { settings, recorder } = deps
  return (line, batch) => {
    const { type, body, model, path } = line
    const text = JSON.stringify(body)
    const fault = deps.faults.choose({
      path: LINE_PATH,
      text,
      key: null,
      header: undefined,
      prompts: () => listPrompts(type, body),
    })
    if (fault) recorder.fault(fault.kind)
    const lineFault = fault && LINE_FAULTS[fault.kind]
    if (lineFault) return { kind: lineFault }
    const refusal =
      fault && /^\d+$/.test(fault.kind)
        ? faultAnswer(Number(fault.kind), 0)
        : checkRequest(type, body, text, settings.poison)
    if (refusal) return toError(refusal)
    const cost = estimateCost({ kind: 'openai', type, body })
    const promptHash = hashPrompt(type, model, body)
    recorder.bill({
      ...{ path, model, prompt_hash: promptHash, tokens: cost.tokens, inputs: cost.inputs },
      ...{ batch, custom_id: line.customId },
    })
    const plan = planAnswer({
      ...{ type, body, model, promptHash, inputTokens: cost.inputTokens },
      meanOutputTokens: settings.outputTokens,
      id: `${type === 'chat' ? 'chatcmpl-' : 'resp_'}${promptHash.slice(0, 16)}${batch.slice(-8)}`,
      created: Math.floor(deps.now() / 1000),
    })
    return { kind: 'answer', plan, body: buildAnswer(plan, body, settings) }
  }
}

function toError({ status, error }: ErrorAnswer): LineOutcome {
  return { kind: 'error', status, error }
}

function buildAnswer(plan: AnswerPlan, body: JsonObject, settings: SimulatorSettings): JsonObject {
  if (plan.type === 'chat') return { ...buildChat(plan), service_tier: 'batch' }
  if (plan.type === 'response') return { ...buildResponse(plan, body, 'done'), service_tier: 'batch' }
  return buildEmbeddings(normalizeInputs(body) ?? [], {
    model: plan.model,
    dimensions: typeof body.dimensions === 'number' ? body.dimensions : settings.dimensions,
    base64: body.encoding_format === 'base64',
    inputTokens: plan.inputTokens,
  })
}

/** Extracts the text from the content of an Anthropic message. */
function textOf(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part) => (isJsonObject(part) && typeof part.text === 'string' ? part.text : ''))
    .join('')
}

/** Converts a request of the Messages API to the chat that the simulator answers. */
export function toChat(params: JsonObject): JsonObject {
  const system = params.system === undefined ? [] : [{ role: 'system', content: textOf(params.system) }]
  const messages = (Array.isArray(params.messages) ? params.messages : []).map((message) => {
    const { role, content } = isJsonObject(message) ? message : {}
    return { role: typeof role === 'string' ? role : 'user', content: textOf(content) }
  })
  const { max_tokens } = params
  return { messages: [...system, ...messages], ...(typeof max_tokens === 'number' ? { max_tokens } : {}) }
}

/** Converts an answer to the format of Anthropic's Messages API. */
export function toMessage(plan: AnswerPlan): JsonObject {
  return {
    id: plan.id.replace('chatcmpl-', 'msg_'),
    type: 'message',
    role: 'assistant',
    model: plan.model,
    content: [{ type: 'text', text: plan.text }],
    stop_reason: plan.finish === 'length' ? 'max_tokens' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: plan.inputTokens,
      output_tokens: plan.outputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      service_tier: 'batch',
    },
  }
}
