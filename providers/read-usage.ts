import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { countAnswerText, countPrompt } from './count-tokens.ts'
import type { CallType, Usage } from './provider.ts'

/** The counts that an answer states; a member is missing where it states none. */
type Counts = { input?: number; output?: number; total?: number }

/** A usage, and whether any part of it is our estimate. */
export type BilledUsage = { usage: Usage; isEstimate: boolean }

/**
 * The usage that an answer states, in the names of the job API, wherever the provider puts it; null when it states none.
 * Counts may be numbers or their text. A total alone is input, as of embeddings.
 *
 * @param body a whole answer, or one chunk or event of a stream
 */
export function readUsage(body: JsonObject): Usage | null {
  const counts = readCounts(body)
  if (counts === null) return null
  const { input, output, total } = counts
  const known = input ?? (total === undefined ? undefined : Math.max(0, total - (output ?? 0)))
  if (known === undefined) return null
  const produced = output ?? Math.max(0, (total ?? known) - known)
  return { input_tokens: known, output_tokens: produced, total_tokens: total ?? known + produced }
}

/**
 * What a finished call is billed for. What the answer does not state, or states as zero although there is something, is
 * estimated from the request and from the text of the answer: no call is free.
 *
 * @param stated what the answer stated, where it was read already
 */
export function completeUsage(
  type: CallType,
  request: JsonObject,
  answer: JsonObject,
  stated: Usage | null,
): BilledUsage {
  const counts = readCounts(answer)
  const isTotalAlone = counts !== null && counts.input === undefined && counts.output === undefined
  const usage = stated ?? readUsage(answer)
  if (type === 'embedding') {
    if (usage !== null && usage.input_tokens > 0) return { usage, isEstimate: false }
    return estimated(countPrompt(type, request), 0)
  }
  const said = countAnswerText(answer)
  if (usage === null || usage.input_tokens + usage.output_tokens === 0) {
    return estimated(countPrompt(type, request), counts?.output || said)
  }
  if (usage.output_tokens > 0 && usage.input_tokens > 0) return { usage, isEstimate: false }
  if (usage.input_tokens === 0) return estimated(countPrompt(type, request), usage.output_tokens)
  if (said === 0) return { usage, isEstimate: false }
  const output = isTotalAlone ? Math.min(said, usage.input_tokens) : said
  return estimated(isTotalAlone ? usage.input_tokens - output : usage.input_tokens, output)
}

/**
 * What a call is billed for that was sent and cut off: what its stream stated so far, else the estimate of its input and
 * of the output that came.
 *
 * @param received output tokens that came, estimated
 */
export function usageOfCut(
  type: CallType,
  request: JsonObject,
  stated: Usage | null,
  received: number,
): BilledUsage {
  const input = stated !== null && stated.input_tokens > 0 ? stated.input_tokens : countPrompt(type, request)
  return estimated(input, Math.max(stated?.output_tokens ?? 0, received))
}

function estimated(input: number, output: number): BilledUsage {
  const usage = { input_tokens: input, output_tokens: output, total_tokens: input + output }
  return { usage, isEstimate: true }
}

/**
 * Places that hold counts, the usual one first: OpenAI, Anthropic; an event that wraps its answer (Responses, Anthropic);
 * Groq; Gemini's own API; Ollama's own API, flat in the answer; Cohere; a choice of some gateways.
 */
function* findPlaces(body: JsonObject): Generator<JsonValue | undefined> {
  yield body.usage
  for (const wrapper of [body.response, body.message]) if (isJsonObject(wrapper)) yield wrapper.usage
  if (isJsonObject(body.x_groq)) yield body.x_groq.usage
  yield body.usageMetadata
  yield body.usage_metadata
  if (body.prompt_eval_count !== undefined || body.eval_count !== undefined) yield body
  if (isJsonObject(body.meta)) {
    yield body.meta.tokens
    yield body.meta.billed_units
  }
  if (isJsonObject(body.usage)) {
    yield body.usage.tokens
    yield body.usage.billed_units
  }
  if (Array.isArray(body.choices)) {
    for (const choice of body.choices) if (isJsonObject(choice)) yield choice.usage
  }
}

/** The first place that counts anything; where all are zero, zeros. */
function readCounts(body: JsonObject): Counts | null {
  let zeros: Counts | null = null
  for (const place of findPlaces(body)) {
    if (!isJsonObject(place)) continue
    const counts = readPlace(place)
    if (counts === null) continue
    if ((counts.input ?? 0) + (counts.output ?? 0) + (counts.total ?? 0) > 0) return counts
    zeros ??= counts
  }
  return zeros
}

function readPlace(place: JsonObject): Counts | null {
  const input = readInput(place)
  const thought = readCount(place.thoughtsTokenCount) ?? 0
  const written = first(place, ['output_tokens', 'completion_tokens', 'eval_count', 'candidatesTokenCount'])
  const output = written === undefined && thought === 0 ? undefined : (written ?? 0) + thought
  const total = first(place, ['total_tokens', 'totalTokenCount'])
  if (input === undefined && output === undefined && total === undefined) return null
  return {
    ...(input === undefined ? {} : { input }),
    ...(output === undefined ? {} : { output }),
    ...(total === undefined ? {} : { total }),
  }
}

/** Anthropic's own `input_tokens` leave out what its prompt cache took and gave; every other count includes it. */
function readInput(place: JsonObject): number | undefined {
  const input = first(place, ['input_tokens', 'prompt_tokens', 'prompt_eval_count', 'promptTokenCount'])
  if (input === undefined || readCount(place.input_tokens) === undefined) return input
  const written = readCount(place.cache_creation_input_tokens) ?? 0
  return input + written + (readCount(place.cache_read_input_tokens) ?? 0)
}

function first(place: JsonObject, names: readonly string[]): number | undefined {
  for (const name of names) {
    const count = readCount(place[name])
    if (count !== undefined) return count
  }
  return undefined
}

/** More than can be counted exactly is no count; its price would be no number. */
function readCount(value: JsonValue | undefined): number | undefined {
  const count = typeof value === 'string' && /^\d{1,15}(?:\.\d+)?$/.test(value) ? Number(value) : value
  return typeof count === 'number' && count >= 0 && count <= Number.MAX_SAFE_INTEGER
    ? Math.floor(count)
    : undefined
}
