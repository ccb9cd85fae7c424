import type { JsonObject, JsonValue } from './json.ts'

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

function isTokens(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((token) => typeof token === 'number')
}
