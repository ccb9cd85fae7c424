import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'

/**
 * What a response was asked with, oldest first, as a list shows it: a text is a message of the user, and items that the
 * client gave no id have one that stays the same.
 *
 * @param key makes ids of its own response's, and of no other's
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
