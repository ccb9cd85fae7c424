import type { JsonObject, JsonValue } from '../../lib/json.ts'

/** How a provider says what OpenAI says otherwise. docs/providers.md lists them, with where each was reported. */
export type Dialect = {
  /** A whole chat completion in its words. */
  whole?(body: JsonObject): JsonObject
  /** The chunks of a streamed chat, without `[DONE]`, in its words; a string goes out as it is. */
  chunks?(chunks: JsonObject[]): (JsonObject | string)[]
  /** Of a stream. */
  contentType?: string
  /** What a line ends with. */
  lineEnd?: string
  /** Instead of `data: [DONE]`. */
  end?: string
  /** An embeddings answer in its words. */
  embeddings?(body: JsonObject): JsonObject
  /** The answer with an error status in its words. */
  error?(status: number, error: JsonObject): { status: number; body: JsonValue }
  /** A member that it does not accept, and its refusal. */
  refuses?: { member: string; status: number; body: (member: string) => JsonValue }
}
