import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'

/**
 * The input of a response as a list of items, oldest first: a text becomes a user message, and items without an id get a stable one.
 *
 * @param key part of these ids, unique to the response
 */
export function listInputItems(input: JsonValue | undefined, key: string): JsonObject[] {
  const items: JsonValue | undefined = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  if (!Array.isArray(items)) return []
  return items.filter(isJsonObject).map((item, index) => {
    const type = typeof item.type === 'string' ? item.type : 'message'
    const id =
      typeof item.id === 'string' ? item.id : `${type === 'message' ? 'msg' : 'item'}_${key}_${index}`
    if (type !== 'message') return { ...item, id, type }
    const { content } = item
    const kind = item.role === 'assistant' ? 'output_text' : 'input_text'
    const parts = typeof content === 'string' ? [{ type: kind, text: content }] : (content ?? [])
    return { status: 'completed', ...item, id, type, content: parts }
  })
}
