import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { isGiven } from './text-members.ts'

/** Collects the items of a streamed Response, for servers whose last event omits them. */
export type ResponseAssembler = {
  add(event: JsonObject): void
  /** Returns the response of the last event, with the collected items where it has none. */
  complete(response: JsonObject): JsonObject
}

/** A text within an item: the list and the type of the part that holds it, or the item's own member. */
type Place = { list: 'content' | 'summary'; type: string; field: string } | { member: string }

/** Events that tell of a text: `….delta` a piece of it, `….done` all of it. */
const TEXTS: Readonly<Record<string, Place>> = {
  'response.output_text': { list: 'content', type: 'output_text', field: 'text' },
  'response.refusal': { list: 'content', type: 'refusal', field: 'refusal' },
  'response.reasoning_text': { list: 'content', type: 'reasoning_text', field: 'text' },
  'response.reasoning_summary_text': { list: 'summary', type: 'summary_text', field: 'text' },
  'response.function_call_arguments': { member: 'arguments' },
  'response.mcp_call_arguments': { member: 'arguments' },
  'response.custom_tool_call_input': { member: 'input' },
}

/** Servers that leave out what begins a text leave out few; an index beyond is no place. */
const MOST_PARTS = 4096

/**
 * The last event of a Response stream holds the whole response. Where its `output` is empty although items came, the items are taken from
 * their own events: from `output_item.done`, or else from `output_item.added` with the texts of its parts. A text whose item or part was
 * never added begins it. Only members that the API defines as text are appended.
 */
export function createResponseAssembler(): ResponseAssembler {
  const items = new Map<number, JsonObject>()

  function partsOf(item: JsonObject, list: 'content' | 'summary'): JsonValue[] {
    const known = item[list]
    if (Array.isArray(known)) return known
    const parts: JsonValue[] = []
    item[list] = parts
    return parts
  }

  function partAt(
    event: JsonObject,
    item: JsonObject,
    list: 'content' | 'summary',
    type: string,
  ): JsonObject {
    const given = event[list === 'summary' ? 'summary_index' : 'content_index']
    const parts = partsOf(item, list)
    const at =
      typeof given === 'number' && given >= 0 && given < MOST_PARTS ? given : Math.max(0, parts.length - 1)
    while (parts.length <= at) parts.push({ type })
    const part = parts[at]
    if (isJsonObject(part)) return part
    const made: JsonObject = { type }
    parts[at] = made
    return made
  }

  function itemAt(event: JsonObject, index: number, place: Place): JsonObject {
    const known = items.get(index)
    if (known) return known
    const id = isGiven(event.item_id) ? { id: event.item_id! } : {}
    const isMessage = 'type' in place && (place.type === 'output_text' || place.type === 'refusal')
    const made: JsonObject = isMessage
      ? { ...id, type: 'message', role: 'assistant', status: 'in_progress', content: [] }
      : 'list' in place
        ? { ...id, type: 'reasoning', summary: [] }
        : { ...id, type: place.member === 'input' ? 'custom_tool_call' : 'function_call' }
    items.set(index, made)
    return made
  }

  function addText(event: JsonObject, index: number, place: Place, isDone: boolean): void {
    const item = itemAt(event, index, place)
    const [holder, field] =
      'list' in place ? [partAt(event, item, place.list, place.type), place.field] : [item, place.member]
    const whole = event[field]
    if (isDone) holder[field] = typeof whole === 'string' && whole !== '' ? whole : textOf(holder[field])
    else holder[field] = textOf(holder[field]) + textOf(event.delta)
  }

  function addPart(event: JsonObject, item: JsonObject, list: 'content' | 'summary'): void {
    if (!isJsonObject(event.part)) return
    const part = partAt(event, item, list, String(event.part.type ?? ''))
    Object.assign(part, structuredClone(event.part))
  }

  return {
    add(event) {
      const { type, output_index: index } = event
      if (typeof type !== 'string' || typeof index !== 'number') return
      if (type === 'response.output_item.added' || type === 'response.output_item.done') {
        if (isJsonObject(event.item)) items.set(index, structuredClone(event.item))
        return
      }
      const end = type.lastIndexOf('.')
      const [subject, what] = [type.slice(0, end), type.slice(end + 1)]
      const place = Object.hasOwn(TEXTS, subject) ? TEXTS[subject] : undefined
      if (place && (what === 'delta' || what === 'done')) return addText(event, index, place, what === 'done')
      const item = items.get(index)
      if (!item) return
      if (subject === 'response.content_part') addPart(event, item, 'content')
      else if (subject === 'response.reasoning_summary_part') addPart(event, item, 'summary')
      else if (type === 'response.output_text.annotation.added' && isJsonObject(event.annotation)) {
        const part = partAt(event, item, 'content', 'output_text')
        part.annotations = [...(Array.isArray(part.annotations) ? part.annotations : []), event.annotation]
      }
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
