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

/** Larger than any model's output. It bounds absurd caps, so that cap × choices stays an exact integer in a Redis script. */
const MAX_OUTPUT_CAP = 1e9

/**
 * Estimates what a call takes from its lane's limits before it is sent. There is no tokenizer: tokens are bytes / 4. The rules:
 *
 * - openai, openai-compatible: "the maximum of max_tokens and the estimated number of tokens based on the character count of your request"
 *   (OpenAI, Rate limits). The cap counts once per choice (`n`).
 * - azure-openai: prompt text plus max_tokens × n ("max processed-token count", Azure OpenAI quota page).
 * - anthropic: input and output count separately, as they are used; "max_tokens does not factor" (Anthropic, Rate limits).
 * - gemini: the tokens-per-minute limit counts input only (Gemini API, Rate limits).
 * - embeddings, for all providers: the sum over the inputs, at least one token each. Token arrays count exactly.
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
 * Returns what a call finally counts against its lane. A call that was never sent counts nothing. OpenAI, Azure and compatible servers
 * count at admission and return nothing, not even for failed requests: the estimate stays, and is raised where the real usage is higher by
 * the same rule. Anthropic and Gemini count what was used.
 *
 * @param usage null when the provider reported none
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
 * How the provider counts a call: by its own estimate at admission, or by what the call used. `auto`: compatible servers differ, and the
 * lane learns which way its server counts.
 */
export function tokenCountingOf(kind: ProviderKind): 'estimate' | 'used' | 'auto' {
  if (kind === 'openai-compatible') return 'auto'
  return kind === 'anthropic' || kind === 'gemini' ? 'used' : 'estimate'
}

/**
 * Returns the part of an answer's usage that counts against the lane's limits, for `settledTokens`. Anthropic does not count tokens read
 * from its prompt cache: "cache_read_input_tokens … do not count towards ITPM" for most models (Anthropic, Rate limits).
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
 * Price of one call in USD. It is rounded to whole billionths of a dollar: sums of millions of calls, kept in billionths, stay exact.
 *
 * @param tier service tier, as the answer names it; standard where it names none
 */
export function priceUsage(price: Price, usage: PricedUsage, tier?: string): number {
  return priceInNano(price, usage, tier) / 1e9
}

/** How much more a call would have cost without the provider's prompt cache, in USD. */
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
 * Returns what bounds the price of a call's output: the cap of each choice (null: the request sets none) and the number of choices. Of two
 * caps the larger counts. `best_of` counts too, because the provider bills every candidate that it generates.
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
