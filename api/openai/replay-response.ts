import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { keepSourcesAt, withMembers } from '../../lib/json-source.ts'
import { lookUp } from '../../lib/look-up.ts'
import { cutText } from './cut-text.ts'

/** A text within an item that comes in pieces: `response.<name>.delta` with `delta`, then `response.<name>.done` with `field`. */
type Piecemeal = { name: string; field: string }

/** The text of an item, by its type. */
const ITEM_TEXTS: Record<string, Piecemeal> = {
  function_call: { name: 'function_call_arguments', field: 'arguments' },
  mcp_call: { name: 'mcp_call_arguments', field: 'arguments' },
  custom_tool_call: { name: 'custom_tool_call_input', field: 'input' },
}
/** The text of a part, by its type. */
const PART_TEXTS: Record<string, Piecemeal> = {
  output_text: { name: 'output_text', field: 'text' },
  refusal: { name: 'refusal', field: 'refusal' },
  reasoning_text: { name: 'reasoning_text', field: 'text' },
  summary_text: { name: 'reasoning_summary_text', field: 'text' },
}

/**
 * The events that a finished response would have been streamed with, without their numbers: known texts come in pieces, everything else
 * with the start of its item. The same response always gives the same events.
 */
export function* listResponseEvents(response: JsonObject): Generator<JsonObject> {
  keepSourcesAt(response, ['output', '*'])
  const changes: JsonObject = { status: 'in_progress', output: [], usage: null }
  for (const name of ['incomplete_details', 'completed_at', 'error'])
    if (name in response) changes[name] = null
  const opening = withMembers(response, changes)
  yield { type: 'response.created', response: opening }
  yield { type: 'response.in_progress', response: opening }
  for (const [index, item] of (Array.isArray(response.output) ? response.output : []).entries()) {
    if (isJsonObject(item)) yield* listItemEvents(item, index)
  }
  yield { type: `response.${endOf(response.status)}`, response }
}

function endOf(status: JsonValue | undefined): string {
  return status === 'incomplete' || status === 'failed' ? status : 'completed'
}

function* listItemEvents(item: JsonObject, index: number): Generator<JsonObject> {
  const cut = typeof item.id === 'string' && item.id !== '' ? cutItem(item) : null
  yield { type: 'response.output_item.added', output_index: index, item: cut?.opening ?? item }
  for (const event of cut?.events ?? []) {
    const { type, ...members } = event
    yield { type: type ?? null, item_id: item.id ?? null, output_index: index, ...members }
  }
  yield { type: 'response.output_item.done', output_index: index, item }
}

/** Splits an item into its start and the following events. Null: it comes whole. Its events name the item, so it needs an id. */
function cutItem(item: JsonObject): { opening: JsonObject; events: JsonObject[] } | null {
  const opening: JsonObject = 'status' in item ? { ...item, status: 'in_progress' } : { ...item }
  const own = lookUp(ITEM_TEXTS, String(item.type))
  if (own !== undefined) {
    const text = item[own.field]
    if (typeof text !== 'string') return null
    return { opening: { ...opening, [own.field]: '' }, events: listTextEvents(own, text, {}) }
  }
  if (item.type !== 'message' && item.type !== 'reasoning') return null
  const events: JsonObject[] = []
  for (const [list, place, prefix] of [
    ['summary', 'summary_index', 'reasoning_summary_part'],
    ['content', 'content_index', 'content_part'],
  ] as const) {
    const parts = item[list]
    if (!Array.isArray(parts)) continue
    opening[list] = []
    for (const [at, part] of parts.entries()) {
      if (isJsonObject(part)) events.push(...listPartEvents(part, prefix, { [place]: at }))
    }
  }
  return { opening, events }
}

function listPartEvents(part: JsonObject, prefix: string, place: JsonObject): JsonObject[] {
  const known = lookUp(PART_TEXTS, String(part.type))
  const text = known && part[known.field]
  const done = { type: `response.${prefix}.done`, ...place, part }
  if (known === undefined || typeof text !== 'string') {
    return [{ type: `response.${prefix}.added`, ...place, part }, done]
  }
  const annotations = Array.isArray(part.annotations) ? part.annotations : []
  const empty: JsonObject = { ...part, [known.field]: '' }
  for (const name of ['annotations', 'logprobs']) if (Array.isArray(empty[name])) empty[name] = []
  return [
    { type: `response.${prefix}.added`, ...place, part: empty },
    ...listTextEvents(known, text, place, part.logprobs ?? []),
    ...annotations.map((annotation, index) => ({
      type: 'response.output_text.annotation.added',
      ...place,
      annotation_index: index,
      annotation,
    })),
    done,
  ]
}

function listTextEvents(
  { name, field }: Piecemeal,
  text: string,
  place: JsonObject,
  logprobs: JsonValue = [],
): JsonObject[] {
  const isOutput = name === 'output_text'
  return [
    ...cutText(text).map((delta) => ({
      type: `response.${name}.delta`,
      ...place,
      delta,
      ...(isOutput ? { logprobs: [] } : {}),
    })),
    { type: `response.${name}.done`, ...place, [field]: text, ...(isOutput ? { logprobs } : {}) },
  ]
}
