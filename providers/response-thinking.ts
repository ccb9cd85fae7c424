import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/**
 * Thinking with its signatures travels in a reasoning item's `encrypted_content`, which clients send back as it is. The
 * mark in front tells ours from OpenAI's own, which no other provider can read.
 */
const MARK = 'thinking:'

/** Thinking blocks as the content that a client is to bring back. */
export function packThinking(blocks: JsonValue[]): string {
  return MARK + Buffer.from(JSON.stringify(blocks)).toString('base64')
}

/** The thinking blocks of a reasoning item; none where another provider made it. */
export function readThinking(item: JsonObject): JsonValue[] {
  const { encrypted_content: content } = item
  if (typeof content !== 'string' || !content.startsWith(MARK)) return []
  try {
    const blocks: unknown = JSON.parse(Buffer.from(content.slice(MARK.length), 'base64').toString('utf8'))
    return Array.isArray(blocks) ? blocks.filter(isJsonObject) : []
  } catch {
    return []
  }
}
