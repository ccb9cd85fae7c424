import type { ProviderKind } from '../config/lanes.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { CallType, Usage } from './provider.ts'

/** What one call takes from its lane's limits. */
export type TokenCount = {
  /** Counted against a combined tokens-per-minute limit, as this provider counts. */
  tokens: number
  /** Counted against separate input and output limits. */
  inputTokens: number
  outputTokens: number
}

export type CostEstimate = TokenCount & {
  /** Inputs of an embedding call; 1 for others. */
  inputs: number
}

export type CostQuestion = {
  kind: ProviderKind
  type: CallType
  body: JsonObject
  /** Output tokens to expect where the body sets no cap; default 0. */
  expectedOutputTokens?: number
}

/** English prose and JSON run at about four bytes a token; OpenAI's own limiter estimates from characters too. */
const BYTES_PER_TOKEN = 4

/** One 1024×1024 picture at high detail: 85 + 4 tiles × 170 tokens (OpenAI, "Images and vision"). Its bytes say nothing. */
const IMAGE_BYTES = 765 * BYTES_PER_TOKEN

/** Deeper bodies are refused at the door; the walk stays safe without relying on it. */
const MAX_DEPTH = 64

/** Beyond every model; keeps absurd caps, times the choices, within what Redis scripts count exactly. */
const MAX_OUTPUT_CAP = 1e9

/** Members that name parts of a message rather than carry prompt text. */
const LABELS = new Set(['role', 'type', 'id', 'call_id', 'tool_call_id', 'status', 'detail', 'file_id'])
/** Media other than pictures: their bytes are no text, and nobody documents their count. */
const MEDIA = new Set(['input_audio', 'file_data', 'file_url'])

/**
 * Estimates what a call takes from its lane before it is sent. No tokenizer: bytes / 4, O(bytes). The rules:
 *
 * - openai, openai-compatible: "the maximum of max_tokens and the estimated number of tokens based on the
 *   character count of your request" (OpenAI, Rate limits). The cap counts once per choice (`n`).
 * - azure-openai: prompt text plus max_tokens × n ("max processed-token count", Azure OpenAI quota page).
 * - anthropic: input and output counted apart, as they come; "max_tokens does not factor" (Anthropic, Rate limits).
 * - gemini: its tokens-per-minute limit counts input only (Gemini API, Rate limits).
 * - embeddings, everywhere: the sum over the inputs, each at least one token; token arrays count exactly.
 */
export function estimateCost(question: CostQuestion): CostEstimate {
  const { kind, type, body } = question
  if (type === 'embedding') {
    const { tokens, inputs } = countEmbeddingInput(body.input)
    return { tokens, inputTokens: tokens, outputTokens: 0, inputs }
  }
  const inputTokens = Math.max(1, Math.ceil(countPromptBytes(type, body) / BYTES_PER_TOKEN))
  const expected = Math.max(0, Math.ceil(question.expectedOutputTokens ?? 0))
  const cap = readOutputCap(type, body)
  const counted =
    kind === 'anthropic' || kind === 'gemini' ? Math.min(expected, cap ?? expected) : (cap ?? expected)
  const outputTokens = counted * readChoices(type, body)
  return { tokens: combine(kind, inputTokens, outputTokens), inputTokens, outputTokens, inputs: 1 }
}

/**
 * What the lane should finally hold for a call. A call that never left holds nothing. OpenAI, Azure and
 * compatible servers count at admission and give nothing back, for failed requests neither, so the estimate
 * stays and only grows where the real counts, put through the same rule, come out higher. Anthropic and Gemini
 * count what was used.
 *
 * @param usage null when the provider did not tell
 * @param sent false when the request never left this process
 */
export function settledTokens(
  kind: ProviderKind,
  estimate: TokenCount,
  usage: Usage | null,
  sent: boolean,
): TokenCount {
  if (!sent) return { tokens: 0, inputTokens: 0, outputTokens: 0 }
  if (usage === null) {
    return { tokens: estimate.tokens, inputTokens: estimate.inputTokens, outputTokens: estimate.outputTokens }
  }
  const inputTokens = usage.input_tokens
  const outputTokens = usage.output_tokens
  const tokens = combine(kind, inputTokens, outputTokens)
  if (kind === 'anthropic' || kind === 'gemini') return { tokens, inputTokens, outputTokens }
  return {
    tokens: Math.max(estimate.tokens, tokens),
    inputTokens: Math.max(estimate.inputTokens, inputTokens),
    outputTokens: Math.max(estimate.outputTokens, outputTokens),
  }
}

/**
 * What of an answer's usage counts against the lane's limits, for `settledTokens`. Anthropic leaves out what its
 * prompt cache gave: "cache_read_input_tokens … do not count towards ITPM" for most models (Anthropic, Rate limits).
 */
export function countedUsage(
  kind: ProviderKind,
  answer: { body: JsonObject; usage: Usage | null },
): Usage | null {
  const { usage } = answer
  if (kind !== 'anthropic' || usage === null || !isJsonObject(answer.body.usage)) return usage
  const read = answer.body.usage.cache_read_input_tokens
  if (typeof read !== 'number' || !(read > 0)) return usage
  const input = Math.max(0, usage.input_tokens - Math.floor(read))
  return { ...usage, input_tokens: input, total_tokens: input + usage.output_tokens }
}

/**
 * USD of one call. Prices are USD a million tokens. The product is rounded to 10⁻¹² USD, far below the cheapest
 * token on sale (10⁻⁸), so that the same usage always prices to the same double and sums of millions of calls
 * stay exact to well under a cent.
 */
export function priceUsage(price: { input: number; output: number }, usage: Usage): number {
  const millionths = usage.input_tokens * price.input + usage.output_tokens * price.output
  return Math.round(millionths * 1e6) / 1e12
}

/** Tokens of one embedding input: bytes / 4, or the length of a token array; at least one. */
export function countInputTokens(input: string | number[]): number {
  return Math.max(
    1,
    typeof input === 'string' ? Math.ceil(Buffer.byteLength(input) / BYTES_PER_TOKEN) : input.length,
  )
}

function combine(kind: ProviderKind, inputTokens: number, outputTokens: number): number {
  if (kind === 'gemini') return inputTokens
  if (kind === 'anthropic' || kind === 'azure-openai') return inputTokens + outputTokens
  return Math.max(inputTokens, outputTokens)
}

function countEmbeddingInput(input: JsonValue | undefined): { tokens: number; inputs: number } {
  if (!Array.isArray(input))
    return { tokens: countInputTokens(typeof input === 'string' ? input : ''), inputs: 1 }
  if (typeof input[0] === 'number' || input.length === 0)
    return { tokens: Math.max(1, input.length), inputs: 1 }
  let tokens = 0
  for (const one of input) {
    tokens +=
      typeof one === 'string' ? countInputTokens(one) : Math.max(1, Array.isArray(one) ? one.length : 1)
  }
  return { tokens, inputs: input.length }
}

function countPromptBytes(type: CallType, body: JsonObject): number {
  const texts = type === 'chat' ? [body.messages] : [body.instructions, body.input, body.prompt]
  const schemas =
    type === 'chat' ? [body.tools, body.functions, body.response_format] : [body.tools, body.text]
  let bytes = 0
  for (const text of texts) bytes += countText(text, 0)
  for (const schema of schemas) if (schema !== undefined) bytes += Buffer.byteLength(JSON.stringify(schema))
  return bytes
}

/** Bytes of all strings below a value; a picture counts as one, other media as nothing. */
function countText(value: JsonValue | undefined, depth: number): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return 0
  let bytes = 0
  if (Array.isArray(value)) {
    for (const item of value) bytes += countText(item, depth + 1)
    return bytes
  }
  for (const key in value) {
    if (key === 'image_url') bytes += IMAGE_BYTES
    else if (!LABELS.has(key) && !MEDIA.has(key)) bytes += countText(value[key], depth + 1)
  }
  return bytes
}

function readOutputCap(type: CallType, body: JsonObject): number | undefined {
  const cap = type === 'chat' ? (body.max_completion_tokens ?? body.max_tokens) : body.max_output_tokens
  return typeof cap === 'number' && cap > 0 ? Math.min(MAX_OUTPUT_CAP, Math.ceil(cap)) : undefined
}

/** OpenAI allows up to 128 choices. */
function readChoices(type: CallType, body: JsonObject): number {
  const n = type === 'chat' ? body.n : 1
  return typeof n === 'number' && n >= 1 ? Math.min(128, Math.floor(n)) : 1
}
