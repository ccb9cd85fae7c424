import type { ProviderKind } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import { parseTraceparent } from './traceparent.ts'
import type { SpanAttributes, Tracing } from './tracing.ts'
import { describeContent } from './tracing-content.ts'
import type { OpenSpans } from './tracing-jobs.ts'
import { serverOf } from './tracing-server.ts'

/** A finished provider call, as workers report it. */
type EndedCall = {
  lane: string
  /** Unix ms. */
  startedAt: number
  latencyMs: number
  outcome: string
  claimed: readonly Claimed[]
  body: JsonObject
  answer: ProviderAnswer
}

/** `gen_ai.provider.name` of the kinds with a standard name. Others use their name in the configuration. */
const wellKnown: Partial<Record<ProviderKind, string>> = {
  openai: 'openai',
  'azure-openai': 'azure.ai.openai',
  anthropic: 'anthropic',
  gemini: 'gcp.gemini',
}

/**
 * Records each provider call as a span. The span of a call that several jobs share is a child of the first recorded one, and linked to the
 * others. It must be told about a call before the outcomes of its jobs are stored.
 */
export function createCallTracer(deps: { tracing: Tracing; config: () => Config; open: OpenSpans }) {
  const { tracing, open } = deps

  return (call: EndedCall): void => {
    const { claimed, lane, answer, startedAt } = call
    const contexts = claimed.flatMap((one) => open.get(one)?.traceparent ?? one.trace ?? [])
    const parent = contexts.find((context) => parseTraceparent(context)?.isSampled) ?? contexts[0]
    const first = claimed[0]
    if (first === undefined) return
    const operation = first.type === 'embedding' ? 'embeddings' : 'chat'
    const slash = lane.indexOf('/')
    const model = lane.slice(slash + 1)
    const span = tracing.start({
      name: `${operation} ${model}`,
      kind: 'client',
      parent,
      links: contexts.filter((context) => context !== parent),
      startedAt,
      attributes: {
        'gen_ai.operation.name': operation,
        'gen_ai.request.model': model,
        ...describeProvider(lane.slice(0, slash), deps.config()),
        ...describeRequest(call.body),
        ...describeAnswer(answer),
        ...(tracing.content && operation === 'chat' ? describeContent(call.body, answer) : {}),
        'sluice.lane': lane,
        'sluice.attempt': first.call,
        'sluice.coalesced': claimed.length,
        'sluice.outcome': call.outcome,
      },
    })
    if (!answer.ok) span.fail(answer.code)
    span.end(startedAt + call.latencyMs)
  }
}

function describeProvider(name: string, config: Config): SpanAttributes {
  const settings = config.providers[name]
  if (settings === undefined) return { 'gen_ai.provider.name': name }
  return {
    'gen_ai.provider.name': wellKnown[settings.kind] ?? name,
    ...serverOf(URL.parse(settings.base_url)),
  }
}

function describeRequest(body: JsonObject): SpanAttributes {
  return {
    'gen_ai.request.stream': body.stream === true ? true : undefined,
    'gen_ai.request.max_tokens': numberIn(
      body.max_completion_tokens ?? body.max_output_tokens ?? body.max_tokens,
    ),
    'gen_ai.request.temperature': numberIn(body.temperature),
    'gen_ai.request.top_p': numberIn(body.top_p),
    'gen_ai.embeddings.dimension.count': numberIn(body.dimensions),
  }
}

function describeAnswer(answer: ProviderAnswer): SpanAttributes {
  const status = { 'http.response.status_code': answer.status ?? undefined }
  if (!answer.ok) return { ...status, 'sluice.ambiguous': answer.ambiguous }
  const { body, usage } = answer
  return {
    ...status,
    'gen_ai.response.id': textIn(body.id),
    'gen_ai.response.model': textIn(body.model),
    'gen_ai.response.finish_reasons': readFinishReasons(body),
    'gen_ai.usage.input_tokens': usage?.input_tokens,
    'gen_ai.usage.output_tokens': usage?.output_tokens,
  }
}

/** The finish reason of each choice of a chat. A response has its status, or the reason why it is incomplete. */
function readFinishReasons(body: JsonObject): string[] | undefined {
  const { choices, incomplete_details: incomplete, status } = body
  if (Array.isArray(choices))
    return choices.flatMap((choice) => textIn(memberOf(choice, 'finish_reason')) ?? [])
  const reason = textIn(memberOf(incomplete, 'reason')) ?? textIn(status)
  return reason === undefined ? undefined : [reason]
}

function memberOf(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value[name] : undefined
}

function textIn(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function numberIn(value: JsonValue | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined
}
