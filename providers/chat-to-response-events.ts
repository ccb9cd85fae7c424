import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import {
  callItem,
  closeResponse,
  endItem,
  firstChoice,
  messageItem,
  openResponse,
  reasoningItem,
  refusalPart,
  textOf,
  textPart,
} from './chat-to-response.ts'

/** A text that grows within an item: the names of its events, and where its part stands. */
type TextPart = {
  events: string
  part: string
  field: string
  place: JsonObject
  text: string
  build: (text: string) => JsonObject
}

/** An output item while it grows. */
type OutputItem = { index: number; id: string; parts: TextPart[]; build: (status: string) => JsonObject }

/**
 * Makes the events of a streamed response from the chunks of a streamed chat (OpenAI, "Streaming events" of the Responses API). Items come
 * in the order in which the chat begins them. The last event has the whole response.
 *
 * @param asked the request of the Responses API
 * @param emit takes each event, with its `sequence_number`
 */
export function createResponseEvents(asked: JsonObject, emit: (event: JsonObject) => void) {
  const items: OutputItem[] = []
  const calls = new Map<JsonValue | undefined, { item: OutputItem; call: JsonObject; arguments: string[] }>()
  const thinking: JsonValue[] = []
  let head: JsonObject | null = null
  let reasoning: OutputItem | null = null
  let message: OutputItem | null = null
  let sequence = 0

  function send(type: string, members: JsonObject): void {
    emit({ type, sequence_number: sequence++, ...members })
  }

  function open(chunk: JsonObject): JsonObject {
    if (head !== null) return head
    head = { id: chunk.id ?? '', created: chunk.created ?? 0, model: chunk.model ?? '' }
    const response = openResponse(head, asked)
    send('response.created', { response })
    send('response.in_progress', { response })
    return head
  }

  function addItem(build: OutputItem['build']): OutputItem {
    const opening = build('in_progress')
    const item: OutputItem = { index: items.length, id: textOf(opening.id), parts: [], build }
    items.push(item)
    send('response.output_item.added', { output_index: item.index, item: opening })
    return item
  }

  function place(item: OutputItem): JsonObject {
    return { item_id: item.id, output_index: item.index }
  }

  function addPart(item: OutputItem, part: Omit<TextPart, 'text'>): TextPart {
    const known = item.parts.find(({ events }) => events === part.events)
    if (known !== undefined) return known
    const added = { ...part, text: '' }
    item.parts.push(added)
    send(`response.${part.part}.added`, { ...place(item), ...part.place, part: part.build('') })
    return added
  }

  function addText(item: OutputItem, part: Omit<TextPart, 'text'>, delta: string): void {
    const known = addPart(item, part)
    known.text += delta
    const logprobs = known.events === 'output_text' ? { logprobs: [] } : {}
    send(`response.${known.events}.delta`, { ...place(item), ...known.place, delta, ...logprobs })
  }

  function addReasoning(of: JsonObject, delta: string): void {
    reasoning ??= addItem(() => reasoningItem(of, reasoning?.parts[0]?.text ?? '', []))
    const part = {
      events: 'reasoning_summary_text',
      part: 'reasoning_summary_part',
      field: 'text',
      place: { summary_index: 0 },
      build: (text: string) => ({ type: 'summary_text', text }),
    }
    addText(reasoning, part, delta)
  }

  function ownMessage(of: JsonObject): OutputItem {
    message ??= addItem((status) => ({
      ...messageItem(
        of,
        (message?.parts ?? []).map((part) => part.build(part.text)),
      ),
      status,
    }))
    return message
  }

  function addToMessage(of: JsonObject, kind: 'output_text' | 'refusal', delta: string): void {
    const item = ownMessage(of)
    const at = item.parts.find(({ events }) => events === kind)?.place ?? { content_index: item.parts.length }
    const [field, build] =
      kind === 'refusal' ? (['refusal', refusalPart] as const) : (['text', textPart] as const)
    addText(item, { events: kind, part: 'content_part', field, place: at, build }, delta)
  }

  function addCall(part: JsonObject): void {
    const called = isJsonObject(part.function) ? part.function : {}
    let known = calls.get(part.index)
    if (known === undefined) {
      const pieces: string[] = []
      const call = { id: part.id ?? '', name: called.name ?? '' }
      const build = (status: string) => ({
        ...callItem({ id: call.id, function: { name: call.name, arguments: pieces.join('') } }),
        status,
      })
      known = { item: addItem(build), call, arguments: pieces }
      calls.set(part.index, known)
    }
    const delta = textOf(called.arguments)
    if (delta === '') return
    known.arguments.push(delta)
    send('response.function_call_arguments.delta', { ...place(known.item), delta })
  }

  function closeItem(item: OutputItem, finish: string): JsonObject {
    for (const part of item.parts) {
      const logprobs = part.events === 'output_text' ? { logprobs: [] } : {}
      send(`response.${part.events}.done`, {
        ...place(item),
        ...part.place,
        [part.field]: part.text,
        ...logprobs,
      })
      send(`response.${part.part}.done`, { ...place(item), ...part.place, part: part.build(part.text) })
    }
    const whole =
      item === reasoning ? reasoningItem(head!, item.parts[0]?.text ?? '', thinking) : item.build('completed')
    const built = item === items.at(-1) ? endItem(whole, finish) : whole
    if (built.type === 'function_call') {
      send('response.function_call_arguments.done', {
        ...place(item),
        arguments: built.arguments ?? '',
        name: built.name ?? '',
      })
    }
    send('response.output_item.done', { output_index: item.index, item: built })
    return built
  }

  return {
    /** Takes one chunk of the chat. */
    add(chunk: JsonValue): void {
      if (!isJsonObject(chunk)) return
      const of = open(chunk)
      const { delta } = firstChoice(chunk)
      if (!isJsonObject(delta)) return
      if (Array.isArray(delta.thinking_blocks)) {
        thinking.push(...delta.thinking_blocks)
        reasoning ??= addItem(() => reasoningItem(of, '', []))
      }
      if (textOf(delta.reasoning_content) !== '') addReasoning(of, textOf(delta.reasoning_content))
      if (textOf(delta.content) !== '') addToMessage(of, 'output_text', textOf(delta.content))
      if (textOf(delta.refusal) !== '') addToMessage(of, 'refusal', textOf(delta.refusal))
      if (Array.isArray(delta.tool_calls))
        for (const call of delta.tool_calls) if (isJsonObject(call)) addCall(call)
    },
    /** Ends the stream with the assembled completion. Returns the response. */
    end(completion: JsonObject): JsonObject {
      const of = open(completion)
      const finish = String(firstChoice(completion).finish_reason ?? 'stop')
      if (message === null && calls.size === 0) ownMessage(of)
      const output = items.map((item) => closeItem(item, finish))
      const response = closeResponse({ ...of, usage: completion.usage ?? null }, asked, finish, output)
      send(`response.${response.status}`, { response })
      return response
    },
  }
}
