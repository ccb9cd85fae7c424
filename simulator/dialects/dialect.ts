import type { JsonObject, JsonValue } from '../../lib/json.ts'

/** How a provider's messages differ from OpenAI's. docs/providers.md lists the differences with their sources. */
export type Dialect = {
  /** Converts a complete chat completion. */
  whole?(body: JsonObject): JsonObject
  /** Converts the chunks of a streamed chat, without `[DONE]`. A string is sent as it is. */
  chunks?(chunks: JsonObject[]): (JsonObject | string)[]
  /** The content type of a stream. */
  contentType?: string
  /** The line end in streams. */
  lineEnd?: string
  /** Replaces `data: [DONE]`. */
  end?: string
  /** Converts an embeddings answer. */
  embeddings?(body: JsonObject): JsonObject
  /** Converts an error answer. */
  error?(status: number, error: JsonObject): { status: number; body: JsonValue }
  /** A request member that the provider refuses, and the refusal. */
  refuses?: { member: string; status: number; body: (member: string) => JsonValue }
}
