import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { isGiven } from './text-members.ts'

/** Collects the items of a streamed Response, for servers whose last event omits them. */
export type ResponseAssembler = {
  add(event: JsonObject): void
  /** Returns the response of the last event, with the collected items where it has none. */
  complete(response: JsonObject): JsonObject
}

/**
 * The last event of a Response stream holds the whole response. Where its `output` is empty although items came, the items are taken from
 * their own events: from `output_item.done`, or else from `output_item.added` with the texts of its parts. Only members that the API
 * defines as text are appended.
 */
export function createResponseAssembler(): ResponseAssembler {
  const items = new Map<number, JsonObject>()

  function addPart(event: JsonObject, item: JsonObject): void {
    const { content_index: at, part } = event
    if (typeof at !== 'number' || !isJsonObject(part) || !Array.isArray(item.content)) return
    if (at >= 0 && at <= item.content.length) item.content[at] = { ...part }
  }

  function addText(event: JsonObject, item: JsonObject): void {
    const { type, delta, content_index: at } = event
    if (typeof delta !== 'string') return
    if (type === 'response.function_call_arguments.delta') item.arguments = textOf(item.arguments) + delta
    else if (type === 'response.custom_tool_call_input.delta') item.input = textOf(item.input) + delta
    const part: JsonValue | undefined =
      Array.isArray(item.content) && typeof at === 'number' ? item.content[at] : undefined
    if (!isJsonObject(part)) return
    if (type === 'response.output_text.delta') part.text = textOf(part.text) + delta
    else if (type === 'response.refusal.delta') part.refusal = textOf(part.refusal) + delta
  }

  return {
    add(event) {
      const { type, output_index: index } = event
      if (typeof type !== 'string' || typeof index !== 'number') return
      if (type === 'response.output_item.added' || type === 'response.output_item.done') {
        const { item } = event
        if (!isJsonObject(item)) return
        const content = Array.isArray(item.content) ? { content: [...item.content] } : {}
        items.set(index, { ...item, ...content })
        return
      }
      const item = items.get(index)
      if (!item) return
      if (type.startsWith('response.content_part.')) addPart(event, item)
      else if (type.endsWith('.delta')) addText(event, item)
    },
    complete(response) {
      if (items.size === 0 || (Array.isArray(response.output) && response.output.length > 0)) return response
      const output = [...items.entries()]
        .sort(([left], [right]) => left - right)
        .map(([, item]) => finish(item))
      return { ...response, output }
    },
  }
}

function finish(item: JsonObject): JsonObject {
  return item.status === 'in_progress' || (item.status !== undefined && !isGiven(item.status))
    ? { ...item, status: 'completed' }
    : item
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}
