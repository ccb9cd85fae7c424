import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/**
 * Signed thinking is kept in a reasoning item's `encrypted_content`, which clients send back unchanged. The prefix tells ours from OpenAI's
 * own, which no other provider can read.
 */
const PREFIX = 'thinking:'

/** Packs thinking blocks into the content that a client sends back. */
export function packThinking(blocks: JsonValue[]): string {
  return PREFIX + Buffer.from(JSON.stringify(blocks)).toString('base64')
}

/** The thinking blocks of a reasoning item; empty where another provider made it. */
export function readThinking(item: JsonObject): JsonValue[] {
  const { encrypted_content: content } = item
  if (typeof content !== 'string' || !content.startsWith(PREFIX)) return []
  try {
    const blocks: unknown = JSON.parse(Buffer.from(content.slice(PREFIX.length), 'base64').toString('utf8'))
    return Array.isArray(blocks) ? blocks.filter(isJsonObject) : []
  } catch {
    return []
  }
}
