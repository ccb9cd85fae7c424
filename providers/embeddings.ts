import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/** One text, or one text as tokens. */
export type EmbeddingInput = string | number[]

/**
 * The inputs of an embeddings body as a list: `string`, `string[]`, `number[]` (one text as tokens) or
 * `number[][]`. Null for any other shape.
 */
export function normalizeInputs(body: JsonObject): EmbeddingInput[] | null {
  const input = body.input
  if (typeof input === 'string') return [input]
  if (!Array.isArray(input)) return null
  if (isTokens(input)) return [input]
  return input.every((one) => typeof one === 'string') || input.every(isTokens)
    ? (input as EmbeddingInput[])
    : null
}

/**
 * Jobs of one lane with the same key may share a provider request: they differ in `input` alone (and in
 * `encoding_format`, for upstream is always asked for base64). Texts and token arrays do not mix in one request.
 * Null when the job must travel alone: an odd shape, or an empty input, which would fail the others with it.
 */
export function coalesceKey(body: JsonObject): string | null {
  const inputs = normalizeInputs(body)
  if (inputs === null || inputs.length === 0 || inputs.some((input) => input.length === 0)) return null
  const { input: _input, encoding_format: _format, ...rest } = body
  const form = typeof inputs[0] === 'string' ? 'text' : 'tokens'
  return hash('sha256', `${form}\n${canonicalize(rest)}`, 'base64url').slice(0, 22)
}

/** One request out of bodies with the same key, inputs in the order of the bodies. */
export function mergeBodies(bodies: readonly JsonObject[]): JsonObject {
  const input: EmbeddingInput[] = []
  for (const body of bodies) {
    // A loop, for spreading thousands of arguments overflows the stack.
    for (const one of normalizeInputs(body) ?? []) input.push(one)
  }
  return { ...bodies[0], input, encoding_format: 'base64' }
}

/**
 * Gives each body its part of a shared answer, shaped as if it had asked alone: vectors counted from 0, and a
 * share of the usage by its estimated tokens. The shares of all parts sum exactly to the provider's counts.
 *
 * @param answer an embeddings answer with as many vectors as `counts` sums to
 * @param counts inputs of each body, in the order of `mergeBodies`
 * @param inputTokens estimated tokens of each body
 */
export function splitAnswer(answer: JsonObject, counts: number[], inputTokens: number[]): JsonObject[] {
  const data = sortByIndex(Array.isArray(answer.data) ? answer.data : [])
  const usages = splitUsage(answer.usage, inputTokens)
  let start = 0
  return counts.map((count, part) => {
    const own = data.slice(start, start + count)
    start += count
    const body: JsonObject = { ...answer, data: own.map((entry, index) => ({ ...entry, index })) }
    if (usages) body.usage = usages[part]
    return body
  })
}

/**
 * Splits a whole number by weights with the largest remainder method: the shares are whole and sum exactly to the
 * total; of equal remainders the first is served first. Without any weight all weigh the same.
 */
export function splitByWeight(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((left, right) => left + right, 0)
  const quotas = weights.map((weight) => (sum > 0 ? (total * weight) / sum : total / weights.length))
  const shares = quotas.map(Math.floor)
  let rest = total - shares.reduce((left, right) => left + right, 0)
  const byRemainder = quotas
    .map((quota, index) => ({ index, remainder: quota - Math.floor(quota) }))
    .sort((left, right) => right.remainder - left.remainder || left.index - right.index)
  for (const { index } of byRemainder) {
    if (rest <= 0) break
    shares[index]! += 1
    rest -= 1
  }
  return shares
}

function splitUsage(usage: JsonValue | undefined, weights: number[]): JsonObject[] | null {
  if (!isJsonObject(usage)) return null
  const promptTokens = splitByWeight(readCount(usage.prompt_tokens), weights)
  const totalTokens =
    usage.total_tokens === usage.prompt_tokens
      ? promptTokens
      : splitByWeight(readCount(usage.total_tokens), weights)
  return weights.map((_, part) => ({ prompt_tokens: promptTokens[part]!, total_tokens: totalTokens[part]! }))
}

function readCount(value: JsonValue | undefined): number {
  return typeof value === 'number' && value > 0 ? Math.floor(value) : 0
}

function sortByIndex(data: JsonValue[]): JsonObject[] {
  const entries = data.filter(isJsonObject)
  const sorted = entries.every((entry, position) => entry.index === position)
  return sorted ? entries : entries.sort((left, right) => Number(left.index) - Number(right.index))
}

function isTokens(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((token) => typeof token === 'number')
}
