import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'
import { countAnswerText, countPrompt } from './count-tokens.ts'
import { isWithoutOutput, makesImages, takesAudio } from './endpoints.ts'

/** The counts that an answer states. A missing member was not stated. */
type Counts = { input?: number; output?: number; total?: number; details?: UsageDetails }

/** Details of the counts, without those that are 0. */
type UsageDetails = Omit<Usage, 'input_tokens' | 'output_tokens' | 'total_tokens'>

/** Names of the counts: OpenAI's two APIs, Ollama's own, Gemini's own, Bedrock's own, and llama.cpp's timings. */
const INPUTS = ['input_tokens', 'prompt_tokens', 'prompt_eval_count', 'promptTokenCount', 'inputTokens']
const OUTPUTS = [
  'output_tokens',
  'completion_tokens',
  'eval_count',
  'candidatesTokenCount',
  'outputTokens',
  'predicted_n',
]

/** More tokens than any call has. A larger count is none: one mistake of a server would use up a budget for good. */
const MOST_TOKENS = 1e9

/** A usage, and whether any part of it is our estimate. */
export type BilledUsage = { usage: Usage; isEstimate: boolean }

/**
 * Reads the usage that an answer states, wherever the provider puts it, in the names of the job API. Null when it states none. Counts may
 * be numbers or strings. A total alone counts as input, as for embeddings.
 *
 * @param body a whole answer, or one chunk or event of a stream
 */
export function readUsage(body: JsonObject): Usage | null {
  const counts = readCounts(body)
  if (counts === null) return null
  const { input, output, total, details } = counts
  const known = input ?? (total === undefined ? undefined : Math.max(0, total - (output ?? 0)))
  if (known === undefined) return null
  const produced = output ?? Math.max(0, (total ?? known) - known)
  const sum = known + produced
  return {
    input_tokens: known,
    output_tokens: produced,
    total_tokens: Math.max(total ?? sum, sum),
    ...boundDetails(details ?? {}, known, produced),
  }
}

/** No part is larger than the whole that it is said to be part of. */
function boundDetails(details: UsageDetails, input: number, output: number): UsageDetails {
  const bounded: UsageDetails = { ...details }
  const bound = (name: keyof UsageDetails, most: number) => {
    if (bounded[name] !== undefined) bounded[name] = Math.min(bounded[name], most)
    if (bounded[name] === 0) delete bounded[name]
  }
  bound('cached_input_tokens', input)
  bound('cache_write_tokens', input - (bounded.cached_input_tokens ?? 0))
  bound('cache_write_1h_tokens', bounded.cache_write_tokens ?? 0)
  bound('audio_input_tokens', input)
  bound('reasoning_tokens', output)
  bound('audio_output_tokens', output)
  return bounded
}

/**
 * The service tier that an answer names, for its price; null where it names none. OpenAI's `default` is `standard`.
 *
 * @param body a whole answer
 */
export function readServedTier(body: JsonObject): string | null {
  const places = [body, body.usage, body.response, body.x_groq].filter((place) => isJsonObject(place))
  for (const { service_tier: tier } of places) {
    if (typeof tier !== 'string' || !/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(tier)) continue
    const name = tier.toLowerCase()
    return name === 'default' || name === 'auto' ? 'standard' : name
  }
  return null
}

/**
 * The usage that a finished call is billed for. Counts that the answer does not state, or states as zero although there is content, are
 * estimated from the request and the text of the answer: no call is free.
 *
 * @param stated the usage that the answer stated, where it was read already
 */
export function completeUsage(
  type: CallType,
  request: JsonObject,
  answer: JsonObject,
  stated: Usage | null,
): BilledUsage {
  const billed = completeCounts(type, request, answer, stated)
  const images = makesImages(type) && Array.isArray(answer.data) ? answer.data.length : 0
  return images === 0 ? billed : { ...billed, usage: { ...billed.usage, images } }
}

function completeCounts(
  type: CallType,
  request: JsonObject,
  answer: JsonObject,
  stated: Usage | null,
): BilledUsage {
  const counts = readCounts(answer)
  const isTotalAlone = counts !== null && counts.input === undefined && counts.output === undefined
  const usage = stated ?? readUsage(answer)
  if (isWithoutOutput(type)) {
    if (usage !== null && usage.input_tokens > 0) return { usage, isEstimate: false }
    return estimated(countPrompt(type, request), 0)
  }
  // A provider that bills by the second states nothing else.
  const seconds = takesAudio(type) ? readHeardSeconds(answer) : undefined
  if (seconds !== undefined && (usage === null || usage.input_tokens === 0)) {
    const none = { input_tokens: 0, output_tokens: 0, total_tokens: 0 }
    return { usage: { ...none, audio_seconds: seconds }, isEstimate: false }
  }
  const said = countAnswerText(answer)
  if (usage === null || usage.input_tokens + usage.output_tokens === 0) {
    return estimated(countPrompt(type, request), counts?.output || said)
  }
  if (usage.output_tokens > 0 && usage.input_tokens > 0) return { usage, isEstimate: false }
  if (usage.input_tokens === 0) return estimated(countPrompt(type, request), usage.output_tokens, usage)
  if (said === 0) return { usage, isEstimate: false }
  const output = isTotalAlone ? Math.min(said, usage.input_tokens) : said
  return estimated(isTotalAlone ? usage.input_tokens - output : usage.input_tokens, output, usage)
}

/**
 * The usage of a call that was sent and cut off: what its stream stated so far, or else an estimate of its input and of the output
 * received.
 *
 * @param received output tokens received, estimated
 */
export function usageOfCut(
  type: CallType,
  request: JsonObject,
  stated: Usage | null,
  received: number,
): BilledUsage {
  const input = stated !== null && stated.input_tokens > 0 ? stated.input_tokens : countPrompt(type, request)
  return estimated(input, Math.max(stated?.output_tokens ?? 0, received), stated)
}

/** @param stated its details are kept */
function estimated(input: number, output: number, stated: Usage | null = null): BilledUsage {
  const usage = { ...stated, input_tokens: input, output_tokens: output, total_tokens: input + output }
  return { usage, isEstimate: true }
}

/**
 * Places that may hold counts, the usual ones first: OpenAI and Anthropic; an event that wraps its answer (Responses, Anthropic); Groq;
 * Gemini's own API; Ollama's own API, at the top level; Cohere; a choice (some gateways).
 */
function* findPlaces(body: JsonObject): Generator<JsonValue | undefined> {
  yield body.usage
  for (const wrapper of [body.response, body.message]) if (isJsonObject(wrapper)) yield wrapper.usage
  if (isJsonObject(body.x_groq)) yield body.x_groq.usage
  yield body.timings
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

/** The first place with a count above zero; where all are zero, zeros. */
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
  const written = first(place, OUTPUTS)
  const total = first(place, ['total_tokens', 'totalTokenCount', 'totalTokens'])
  const details = readDetails(place)
  const output = written === undefined && thought === 0 ? undefined : (written ?? 0) + thought
  if (input === undefined && output === undefined && total === undefined) return null
  const counts: Counts = {
    ...(Object.keys(details).length === 0 ? {} : { details }),
    ...addApart({ input, output, total, details }),
    ...(total === undefined ? {} : { total }),
  }
  return addCompactions(counts, place.iterations)
}

/**
 * Adds what a provider counts beside its input and its output, and only in its total: reasoning (xAI; Gemini's compatible
 * endpoint, which does not name it), or what the prompt cache took and gave. Sound that is counted in seconds is priced by these.
 */
function addApart(told: {
  input: number | undefined
  output: number | undefined
  total: number | undefined
  details: UsageDetails
}): Pick<Counts, 'input' | 'output'> {
  const { input, output, total, details } = told
  if (input === undefined || output === undefined) {
    return { ...(input === undefined ? {} : { input }), ...(output === undefined ? {} : { output }) }
  }
  const reasoning = details.reasoning_tokens ?? 0
  if (total === undefined) return { input, output: reasoning > output ? output + reasoning : output }
  const apart = total - input - output
  if (apart <= 0 || details.audio_seconds !== undefined) return { input, output }
  const isCached = apart === (details.cached_input_tokens ?? 0) + (details.cache_write_tokens ?? 0)
  return isCached ? { input: input + apart, output } : { input, output: output + apart }
}

/** Anthropic leaves what it took to compact a context out of its counts, and bills it ("Compaction"). */
function addCompactions(counts: Counts, iterations: JsonValue | undefined): Counts {
  if (!Array.isArray(iterations)) return counts
  let sum = counts
  for (const one of iterations) {
    if (!isJsonObject(one) || one.type !== 'compaction') continue
    const part = readPlace(one)
    if (part === null) continue
    const details: UsageDetails = { ...sum.details }
    for (const name of Object.keys(part.details ?? {}) as (keyof UsageDetails)[])
      details[name] = (details[name] ?? 0) + part.details![name]!
    const [input, output] = [part.input ?? 0, part.output ?? 0]
    sum = {
      ...sum,
      input: (sum.input ?? 0) + input,
      output: (sum.output ?? 0) + output,
      ...(sum.total === undefined ? {} : { total: sum.total + input + output }),
      ...(Object.keys(details).length === 0 ? {} : { details }),
    }
  }
  return sum
}

/** Where providers put details: OpenAI's two APIs, Anthropic, Gemini's own API, DeepSeek, Moonshot, Mistral. */
function readDetails(place: JsonObject): UsageDetails {
  const input = objectOf(
    place.prompt_tokens_details ?? place.input_tokens_details ?? place.input_token_details,
  )
  const output = objectOf(
    place.completion_tokens_details ?? place.output_tokens_details ?? place.output_token_details,
  )
  const written = objectOf(place.cache_creation)
  const anHour = readCount(written.ephemeral_1h_input_tokens)
  const shortly = readCount(written.ephemeral_5m_input_tokens)
  const writtenInAll =
    anHour === undefined && shortly === undefined ? undefined : (anHour ?? 0) + (shortly ?? 0)
  const found: Record<keyof UsageDetails, number | undefined> = {
    cached_input_tokens:
      readCount(place.cache_read_input_tokens) ??
      first(input, ['cached_tokens', 'cache_read_tokens']) ??
      first(place, ['cachedContentTokenCount', 'prompt_cache_hit_tokens', 'cached_tokens']),
    cache_write_tokens:
      readCount(place.cache_creation_input_tokens) ??
      writtenInAll ??
      first(input, ['cache_write_tokens', 'cache_creation_tokens']),
    cache_write_1h_tokens: anHour,
    audio_input_tokens: readCount(input.audio_tokens) ?? countModality(place.promptTokensDetails, 'AUDIO'),
    reasoning_tokens:
      first(output, ['reasoning_tokens', 'thinking_tokens']) ?? readCount(place.thoughtsTokenCount),
    audio_output_tokens:
      readCount(output.audio_tokens) ?? countModality(place.candidatesTokensDetails, 'AUDIO'),
    audio_seconds: readSeconds(place.prompt_audio_seconds ?? place.audio_seconds),
    images: first(place, ['images', 'num_images']),
  }
  return Object.fromEntries(Object.entries(found).filter(([, count]) => count !== undefined && count > 0))
}

/** The duration of a transcript: OpenAI's `usage` of type `duration`, or else the `duration` of the verbose format. */
function readHeardSeconds({ usage, duration }: JsonObject): number | undefined {
  const stated = isJsonObject(usage) && usage.type === 'duration' ? usage.seconds : undefined
  const other = isJsonObject(usage) ? undefined : duration
  return readSeconds(stated ?? (typeof other === 'string' ? Number(other) : other))
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}

/** Gemini lists its counts by modality. */
function countModality(list: JsonValue | undefined, modality: string): number | undefined {
  if (!Array.isArray(list)) return undefined
  const found = list.find((one) => isJsonObject(one) && one.modality === modality)
  return isJsonObject(found) ? readCount(found.tokenCount) : undefined
}

/** Rounded to milliseconds. */
function readSeconds(value: JsonValue | undefined): number | undefined {
  return typeof value === 'number' && value > 0 && value < 1e9 ? Math.round(value * 1000) / 1000 : undefined
}

/** llama.cpp counts what it processed, and what it took from its cache, apart. */
function readProcessed({ prompt_n: processed, cache_n: cached }: JsonObject): number | undefined {
  const count = readCount(processed)
  return count === undefined ? undefined : count + (readCount(cached) ?? 0)
}

/** Anthropic's `input_tokens` exclude tokens read from and written to its prompt cache; all other providers include them. */
function readInput(place: JsonObject): number | undefined {
  const input = first(place, INPUTS) ?? readProcessed(place)
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

/** Counts above `MOST_TOKENS` are ignored: no call has so many. */
function readCount(value: JsonValue | undefined): number | undefined {
  const count = typeof value === 'string' && /^\d{1,15}(?:\.\d+)?$/.test(value) ? Number(value) : value
  return typeof count === 'number' && count >= 0 && count <= MOST_TOKENS ? Math.floor(count) : undefined
}
