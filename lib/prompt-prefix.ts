import { hash } from 'node:crypto'
import type { JsonObject, JsonValue } from './json.ts'

/** Providers cache prefixes of at least 1,024 tokens; at four bytes per token. */
const SHORTEST_BYTES = 4096

/**
 * A hash of what a request shares with similar ones: its tools, its system prompt, and its messages except for the last part of the last
 * one. Null if that is too short for a provider to cache.
 */
export function hashPrefix(body: JsonObject): string | null {
  const parts = [body.tools, body.system, body.instructions, leadingPart(body.messages ?? body.input)]
  const text = parts
    .map((part) => (part === undefined || part === null ? '' : JSON.stringify(part)))
    .join('\n')
  return text.length < SHORTEST_BYTES ? null : hash('sha256', text, 'base64url').slice(0, 16)
}

function leadingPart(turns: JsonValue | undefined): JsonValue | undefined {
  if (!Array.isArray(turns) || turns.length === 0) return undefined
  const last = turns.at(-1)
  const content =
    typeof last === 'object' && last !== null && !Array.isArray(last) ? (last.content ?? null) : null
  const leading = turns.slice(0, -1)
  return Array.isArray(content) && content.length > 1 ? [...leading, content.slice(0, -1)] : leading
}
