import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import type { SpanAttributes } from './tracing.ts'

type ContentPart = JsonObject & { type: string }

/**
 * The request and the answer as messages of parts. Source: OpenTelemetry, semantic conventions for generative AI, `gen_ai.input.messages`
 * and `gen_ai.output.messages`. Images, audio and files are named without their content.
 */
export function describeContent(body: JsonObject, answer: ProviderAnswer): SpanAttributes {
  const asked = body.messages ?? body.input
  return {
    'gen_ai.system_instructions':
      typeof body.instructions === 'string' ? write([textPart(body.instructions)]) : undefined,
    'gen_ai.input.messages': asked === undefined ? undefined : write(toInput(asked)),
    'gen_ai.output.messages': answer.ok ? write(toOutput(answer.body)) : undefined,
  }
}

function write(value: JsonValue): string {
  return JSON.stringify(value)
}

function toInput(asked: JsonValue): JsonValue {
  if (typeof asked === 'string') return [{ role: 'user', parts: [textPart(asked)] }]
  return listOf(asked).flatMap((item) => (isObject(item) ? [toMessage(item, 'user')] : []))
}

/** Converts the choices of a chat, or the items of a response. */
function toOutput(body: JsonObject): JsonValue {
  if (!Array.isArray(body.choices)) {
    return listOf(body.output).flatMap((item) => (isObject(item) ? [toMessage(item, 'assistant')] : []))
  }
  return body.choices.flatMap((choice) => {
    if (!isObject(choice) || !isObject(choice.message)) return []
    const reason = choice.finish_reason ?? 'stop'
    return [{ ...toMessage(choice.message, 'assistant'), finish_reason: reason }]
  })
}

/** Converts a message of a chat, or an item of a response. */
function toMessage(item: JsonObject, role: string): JsonObject {
  const own = typeof item.role === 'string' ? item.role : role
  if (item.type === 'function_call') return { role: 'assistant', parts: [toolCall(item.call_id, item)] }
  if (item.type === 'function_call_output') {
    return { role: 'tool', parts: [toolAnswer(item.call_id, item.output)] }
  }
  if (own === 'tool') return { role: own, parts: [toolAnswer(item.tool_call_id, item.content)] }
  const calls = listOf(item.tool_calls).flatMap((call) =>
    isObject(call) && isObject(call.function) ? [toolCall(call.id, call.function)] : [],
  )
  return { role: own, parts: [...toParts(item.content), ...calls] }
}

function toParts(content: JsonValue | undefined): ContentPart[] {
  if (typeof content === 'string') return [textPart(content)]
  return listOf(content).flatMap((part): ContentPart[] => {
    if (!isObject(part)) return []
    const text = part.text ?? part.refusal
    return [typeof text === 'string' ? textPart(text) : { type: String(part.type) }]
  })
}

function textPart(content: string): ContentPart {
  return { type: 'text', content }
}

function toolCall(id: JsonValue | undefined, call: JsonObject): ContentPart {
  return { type: 'tool_call', id: id ?? null, name: call.name ?? null, arguments: call.arguments ?? null }
}

function toolAnswer(id: JsonValue | undefined, response: JsonValue | undefined): ContentPart {
  return { type: 'tool_call_response', id: id ?? null, response: response ?? null }
}

function listOf(value: JsonValue | undefined): JsonValue[] {
  return Array.isArray(value) ? value : []
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
