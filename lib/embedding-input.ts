import type { JsonObject, JsonValue } from './json.ts'

/** A text, or a text as tokens. */
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

/** Members that request vectors in forms that OpenAI does not have: Jina, Cohere, Voyage. */
const FORM_MEMBERS = ['embedding_type', 'embedding_types', 'output_dtype']

/**
 * Whether a body requests its vectors in a known form: floats, or base64 of float32. Any other form is between the client and the provider:
 * the request is passed on and the answer delivered, both unchanged.
 */
export function asksForKnownForm(body: JsonObject): boolean {
  const { encoding_format: format } = body
  if (FORM_MEMBERS.some((name) => (body[name] ?? null) !== null)) return false
  return (format ?? null) === null || format === 'float' || format === 'base64'
}

function isTokens(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((token) => typeof token === 'number')
}
