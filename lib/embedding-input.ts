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

/** Members by which providers let vectors be asked for in forms that OpenAI has not: Jina, Cohere, Voyage. */
const FORM_MEMBERS = ['embedding_type', 'embedding_types', 'output_dtype']

/**
 * Whether a body asks for its vectors in a form that we know: floats, or base64 of float32. Any other form is between the
 * client and the provider: the request keeps the client's words, and the answer is delivered unchanged.
 */
export function asksForKnownForm(body: JsonObject): boolean {
  const { encoding_format: format } = body
  if (FORM_MEMBERS.some((name) => (body[name] ?? null) !== null)) return false
  return (format ?? null) === null || format === 'float' || format === 'base64'
}

function isTokens(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((token) => typeof token === 'number')
}
