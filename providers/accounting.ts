import type { ProviderKind } from '../config/lanes.ts'
import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { type Price, type PricedUsage, priceInNano } from '../lib/price.ts'
import type { Usage } from '../lib/usage.ts'
import { countEmbeddingInput, countPrompt } from './count-tokens.ts'
import { isWithoutOutput } from './endpoints.ts'
import { listModerationTexts } from './moderation-request.ts'

/** What one call takes from its lane's limits. */
export type TokenCount = {
  /** Counted against a combined tokens-per-minute limit, as this provider counts. */
  tokens: number
  /** Counted against separate input and output limits. */
  inputTokens: number
  outputTokens: number
}

export type CostEstimate = TokenCount & {
  /** Inputs of an embedding call, texts of a moderation; 1 for others. */
  inputs: number
}

/** The output tokens of a completion that names no cap (OpenAI, "Create completion"). */
const COMPLETION_CAP = 16

export type CostQuestion = {
  kind: ProviderKind
  type: CallType
  body: JsonObject
  /** Output tokens to expect where the body sets no cap; default 0. */
  expectedOutputTokens?: number
}

/** Beyond every model; keeps absurd caps, times the choices, within what Redis scripts count exactly. */
const MAX_OUTPUT_CAP = 1e9

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
  const inputTokens = countPrompt(type, body)
  const expected = Math.max(0, Math.ceil(question.expectedOutputTokens ?? 0))
  const cap = readOutputCap(type, body)
  const counted =
    kind === 'anthropic' || kind === 'gemini' ? Math.min(expected, cap ?? expected) : (cap ?? expected)
  const outputTokens = counted * readChoices(type, body)
  const inputs = type === 'moderation' ? (listModerationTexts(body)?.length ?? 1) : 1
  return { tokens: combine(kind, inputTokens, outputTokens), inputTokens, outputTokens, inputs }
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
 * What a call counts in the end: the estimate that its provider made when it came, or what it used. `auto`: compatible servers do the one
 * or the other, and the lane learns which.
 */
export function tokenCountingOf(kind: ProviderKind): 'estimate' | 'used' | 'auto' {
  if (kind === 'openai-compatible') return 'auto'
  return kind === 'anthropic' || kind === 'gemini' ? 'used' : 'estimate'
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
 * USD of one call: the double next to whole billionths of a dollar, so that sums of millions of calls, kept in billionths, are exact.
 *
 * @param tier of service, as the answer names it; standard where it names none
 */
export function priceUsage(price: Price, usage: PricedUsage, tier?: string): number {
  return priceInNano(price, usage, tier) / 1e9
}

/** USD that a call would have cost more, had nothing been read from the provider's prompt cache. */
export function savedByPromptCache(price: Price, usage: PricedUsage, tier?: string): number {
  if (!usage.cached_input_tokens) return 0
  const plain = { ...usage, cached_input_tokens: 0 }
  return Math.max(0, priceInNano(price, plain, tier) - priceInNano(price, usage, tier)) / 1e9
}

function combine(kind: ProviderKind, inputTokens: number, outputTokens: number): number {
  if (kind === 'gemini') return inputTokens
  if (kind === 'anthropic' || kind === 'azure-openai') return inputTokens + outputTokens
  return Math.max(inputTokens, outputTokens)
}

/**
 * What bounds the output of a call, for its price: the cap of each choice (null: the request sets none), and the choices.
 * Of two caps the larger counts, and what a provider makes to choose from is paid for as well.
 */
export function readOutputBound(
  type: CallType,
  body: JsonObject,
): { outputCap: number | null; choices: number } {
  if (isWithoutOutput(type)) return { outputCap: 0, choices: 1 }
  const caps = [body.max_completion_tokens, body.max_tokens, body.max_output_tokens].map(readCap)
  const known = caps.filter((cap) => cap !== undefined)
  const choices = Math.max(readChoices(type, body), readNumber(body.best_of))
  return {
    outputCap: known.length === 0 ? null : Math.max(...known),
    choices: hasChoices(type) ? choices : 1,
  }
}

function readOutputCap(type: CallType, body: JsonObject): number | undefined {
  if (type === 'chat') return readCap(body.max_completion_tokens ?? body.max_tokens)
  if (type === 'completion') return readCap(body.max_tokens) ?? COMPLETION_CAP
  return readCap(type === 'message' ? body.max_tokens : body.max_output_tokens)
}

function readCap(cap: JsonValue | undefined): number | undefined {
  return typeof cap === 'number' && cap > 0 ? Math.min(MAX_OUTPUT_CAP, Math.ceil(cap)) : undefined
}

/** OpenAI allows up to 128 choices. */
function readChoices(type: CallType, body: JsonObject): number {
  return hasChoices(type) ? readNumber(body.n) : 1
}

function hasChoices(type: CallType): boolean {
  return type === 'chat' || type === 'completion'
}

function readNumber(n: JsonValue | undefined): number {
  return typeof n === 'number' && n >= 1 ? Math.min(128, Math.floor(n)) : 1
}
