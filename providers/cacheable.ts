import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { makesImages } from './endpoints.ts'
import { isGiven } from './text-members.ts'

/** Finish reasons of an answer that ended normally, also those of servers with their own words. */
const ENDED =
  /^(?:stop|tool_calls|function_call|eos|eos_token|end_turn|stop_sequence|tool_use|complete|completed)$/i

/**
 * Whether an answer may be cached for later jobs with the same request. It may not where another call could do better: it is empty,
 * filtered, or cut off other than by the request's own cap.
 *
 * @param request the client's body
 */
export function isCacheable(type: CallType, request: JsonObject, answer: JsonObject): boolean {
  if (type === 'chat') return isChatWorthKeeping(request, answer)
  if (type === 'completion') return isCompletionWorthKeeping(request, answer)
  if (type === 'message') return isMessageWorthKeeping(request, answer)
  if (makesImages(type)) return !hasAddresses(answer)
  if (type !== 'response') return true
  const output = Array.isArray(answer.output) ? answer.output : []
  return (answer.status === 'completed' || answer.status === undefined) && output.some(isItemGiven)
}

/** URLs of images at the provider expire after about an hour (OpenAI, "Create image"). */
function hasAddresses({ data }: JsonObject): boolean {
  return Array.isArray(data) && data.some((one) => isJsonObject(one) && one.url !== undefined)
}

function isChatWorthKeeping(request: JsonObject, answer: JsonObject): boolean {
  const choices = Array.isArray(answer.choices) ? answer.choices.filter(isJsonObject) : []
  if (choices.length === 0) return false
  return choices.every(({ message, finish_reason: reason }) => {
    if (!isJsonObject(message) || !isMessageGiven(message)) return false
    if (reason === 'length') return isOwnCap(request, answer)
    return typeof reason === 'string' && ENDED.test(reason)
  })
}

function isCompletionWorthKeeping(request: JsonObject, answer: JsonObject): boolean {
  const choices = Array.isArray(answer.choices) ? answer.choices.filter(isJsonObject) : []
  return (
    choices.length > 0 &&
    choices.every(({ text, finish_reason: reason }) => {
      if (typeof text !== 'string' || text.trim() === '') return false
      // A request without a cap gets OpenAI's default of 16 tokens.
      if (reason === 'length') return request.max_tokens === undefined || isOwnCap(request, answer)
      return typeof reason === 'string' && ENDED.test(reason)
    })
  )
}

function isMessageWorthKeeping(request: JsonObject, answer: JsonObject): boolean {
  const content = Array.isArray(answer.content) ? answer.content.filter(isJsonObject) : []
  const isSaid = content.some((block) => !/thinking$/.test(String(block.type)) && isPartGiven(block))
  const reason = answer.stop_reason
  if (reason === 'max_tokens') {
    // A call that is cut looks like a whole one once it is kept.
    if (content.at(-1)?.type === 'tool_use') return false
    const written = isJsonObject(answer.usage) ? answer.usage.output_tokens : undefined
    const cap = request.max_tokens
    return (
      isSaid && typeof cap === 'number' && (typeof written !== 'number' || written === 0 || written >= cap)
    )
  }
  return isSaid && typeof reason === 'string' && ENDED.test(reason)
}

/** A model may also run out of context before it reaches the cap. */
function isOwnCap(request: JsonObject, answer: JsonObject): boolean {
  const cap = request.max_completion_tokens ?? request.max_tokens
  if (typeof cap !== 'number') return false
  const written = isJsonObject(answer.usage) ? answer.usage.completion_tokens : undefined
  return typeof written !== 'number' || written === 0 || written >= cap
}

function isMessageGiven(message: JsonObject): boolean {
  const { content, tool_calls: calls, function_call: call, refusal, audio, images } = message
  const lists = [calls, images].some((list) => Array.isArray(list) && list.length > 0)
  return isContentGiven(content) || lists || isGiven(call) || isGiven(refusal) || isGiven(audio)
}

function isContentGiven(content: JsonValue | undefined): boolean {
  if (typeof content === 'string') return content.trim() !== ''
  if (!Array.isArray(content)) return false
  return content.some((part) => isJsonObject(part) && part.type !== 'thinking' && isPartGiven(part))
}

function isPartGiven(part: JsonObject): boolean {
  return typeof part.text === 'string' ? part.text.trim() !== '' : Object.keys(part).length > 1
}

/** Reasoning alone is not an answer. */
function isItemGiven(item: JsonValue): boolean {
  if (!isJsonObject(item) || item.type === 'reasoning') return false
  if (item.type !== 'message') return true
  return Array.isArray(item.content) && item.content.some((part) => isJsonObject(part) && isPartGiven(part))
}
