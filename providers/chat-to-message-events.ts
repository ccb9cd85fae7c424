import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { openMessage, toMessage, toMessageUsage, toStop } from './chat-to-message.ts'
import { firstChoice, textOf } from './chat-to-response.ts'

/**
 * Makes the events of a streamed message from the chunks of a streamed chat (Anthropic, "Streaming messages"). Only one block is open at a
 * time: text or thinking ends when another block begins, a tool call when the next call begins.
 *
 * @param asked the request of the Messages API
 */
export function createMessageEvents(asked: JsonObject, emit: (event: JsonObject) => void) {
  let hasBegun = false
  let index = -1
  /** Kind of the open block: `text`, `thinking`, or a tool call by its index. */
  let open: string | null = null

  function begin(of: JsonObject): void {
    if (hasBegun) return
    hasBegun = true
    emit({ type: 'message_start', message: openMessage(of) })
  }

  function close(): void {
    if (open !== null) emit({ type: 'content_block_stop', index })
    open = null
  }

  function ensure(kind: string, block: () => JsonObject): void {
    if (open === kind) return
    close()
    open = kind
    index += 1
    emit({ type: 'content_block_start', index, content_block: block() })
  }

  function grow(delta: JsonObject): void {
    emit({ type: 'content_block_delta', index, delta })
  }

  function addCall(part: JsonObject): void {
    const called = isJsonObject(part.function) ? part.function : {}
    ensure(`call ${String(part.index ?? 0)}`, () => ({
      type: 'tool_use',
      id: part.id ?? '',
      name: called.name ?? '',
      input: {},
    }))
    const text = textOf(called.arguments)
    if (text !== '') grow({ type: 'input_json_delta', partial_json: text })
  }

  return {
    /** Takes one chunk of the chat. */
    add(chunk: JsonValue): void {
      if (!isJsonObject(chunk)) return
      begin(chunk)
      const { delta } = firstChoice(chunk)
      if (!isJsonObject(delta)) return
      const thought = textOf(delta.reasoning_content) || textOf(delta.reasoning)
      if (thought !== '') {
        ensure('thinking', () => ({ type: 'thinking', thinking: '', signature: '' }))
        grow({ type: 'thinking_delta', thinking: thought })
      }
      const text = textOf(delta.content) || textOf(delta.refusal)
      if (text !== '') {
        ensure('text', () => ({ type: 'text', text: '' }))
        grow({ type: 'text_delta', text })
      }
      if (Array.isArray(delta.tool_calls))
        for (const call of delta.tool_calls) if (isJsonObject(call)) addCall(call)
    },
    /** Ends the stream with the assembled completion. Returns the message. */
    end(completion: JsonObject): JsonObject {
      begin(completion)
      close()
      const delta = toStop(firstChoice(completion), asked)
      emit({ type: 'message_delta', delta, usage: toMessageUsage(completion.usage) })
      emit({ type: 'message_stop' })
      return toMessage(completion, asked)
    },
  }
}
