import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { isThinking, readRefusal, textOf, toChatUsage, toFinish, toToolCall } from './anthropic-answer.ts'
import { createChatAssembler } from './assemble.ts'
import { type AnswerOutcome, invalidAnswer, truncatedStream } from './classify.ts'
import type { ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { type StreamReader, sortEvent } from './streaming.ts'
import { isGiven } from './text-members.ts'

/** Source: Anthropic, Messages API, "Streaming messages". */
type EventName =
  | 'message_start'
  | 'message_delta'
  | 'message_stop'
  | 'content_block_start'
  | 'content_block_delta'
  | 'content_block_stop'

/** A block that has begun: a tool call by its index among the calls, thinking as it grows. */
type Block = {
  call: number | null
  thinking: JsonObject | null
  /** Of a tool call: the input that came with `content_block_start`, as JSON. Deltas replace it. */
  input: string
  hasInput: boolean
}

/**
 * Reads the events of a Messages stream, forwards them as chat completion chunks and assembles the completion from these. Unknown events,
 * and `ping`, are skipped: Anthropic adds new ones.
 *
 * @param options.forwardUsage whether the client asked for the last chunk, which has only the usage
 * @param options.created unix seconds
 */
export function createMessagesReader(options: {
  onDelta: (chunk: JsonValue) => void
  onUsage?: ProviderRequest['onUsage']
  forwardUsage: boolean
  created: number
}): StreamReader {
  const assembler = createChatAssembler()
  const blocks = new Map<JsonValue | undefined, Block>()
  let head: JsonObject | null = null
  let usage: JsonObject = {}
  let calls = 0
  let begun = false
  /** Something that is not an event came before the message began. */
  let isStrange = false

  function emit(members: JsonObject): void {
    options.onDelta(assembler.add({ ...head, ...members }))
  }

  function emitDelta(delta: JsonObject, finish: JsonObject = { finish_reason: null }): void {
    emit({ choices: [{ index: 0, delta, logprobs: null, ...finish }] })
  }

  function emitArguments(call: number | null, text: string): void {
    emitDelta({ tool_calls: [{ index: call, function: { arguments: text } }] })
  }

  /** Counts are cumulative. A later null or zero changes nothing: some servers send zero for counts that they do not report. */
  function addUsage(part: JsonValue | undefined): void {
    if (!isJsonObject(part)) return
    const told = Object.entries(part).filter(([name, value]) => isGiven(value) || usage[name] === undefined)
    usage = { ...usage, ...Object.fromEntries(told.filter(([, value]) => value !== null)) }
    const known = readUsage({ usage: toChatUsage(usage) })
    if (known) options.onUsage?.(known)
  }

  function start(message: JsonObject): void {
    const { created } = options
    head = { id: message.id ?? '', object: 'chat.completion.chunk', created, model: message.model ?? '' }
    addUsage(message.usage)
    emitDelta({ role: 'assistant' })
    // Servers that only seem to stream begin with the whole message.
    for (const [index, block] of (Array.isArray(message.content) ? message.content : []).entries()) {
      if (!isJsonObject(block)) continue
      begun = true
      startBlock(index, block)
      endBlock(index)
    }
  }

  function startBlock(index: JsonValue | undefined, block: JsonObject): void {
    const isCall = block.type === 'tool_use'
    // The server did not end an earlier block with this index.
    endBlock(index)
    blocks.set(index, {
      call: isCall ? calls : null,
      thinking: isThinking(block) ? { ...block } : null,
      input: JSON.stringify(isJsonObject(block.input) ? block.input : {}),
      hasInput: false,
    })
    if (isCall) {
      emitDelta({ tool_calls: [{ index: calls, ...toToolCall(block, '') }] })
      calls += 1
    } else if (block.type === 'text') emitDelta({ content: textOf(block.text) })
    else if (textOf(block.thinking) !== '') emitDelta({ reasoning_content: textOf(block.thinking) })
  }

  function growBlock(index: JsonValue | undefined, delta: JsonObject): void {
    const block = blocks.get(index)
    const thinking = block?.thinking
    if (delta.type === 'text_delta') emitDelta({ content: textOf(delta.text) })
    else if (delta.type === 'input_json_delta' && block && block.call !== null) {
      if (textOf(delta.partial_json) === '') return
      block.hasInput = true
      emitArguments(block.call, textOf(delta.partial_json))
    } else if (delta.type === 'thinking_delta' && textOf(delta.thinking) !== '') {
      if (thinking) thinking.thinking = textOf(thinking.thinking) + textOf(delta.thinking)
      emitDelta({ reasoning_content: textOf(delta.thinking) })
    } else if (delta.type === 'signature_delta' && thinking) {
      thinking.signature = textOf(thinking.signature) + textOf(delta.signature)
    }
  }

  function endBlock(index: JsonValue | undefined): void {
    const block = blocks.get(index)
    blocks.delete(index)
    if (block?.thinking) emitDelta({ thinking_blocks: [block.thinking] })
    // For a tool without parameters no input is streamed. Some servers send the input whole.
    if (block && block.call !== null && !block.hasInput) emitArguments(block.call, block.input)
  }

  function end(delta: JsonObject): void {
    for (const index of [...blocks.keys()]) endBlock(index)
    const refusal = readRefusal(delta)
    emitDelta(refusal === null ? {} : { refusal }, toFinish(delta))
  }

  function finish(): AnswerOutcome | null {
    if (head === null && isStrange) {
      return { ok: false, verdict: invalidAnswer('the stream held no event of a message') }
    }
    const body = assembler.isFinished() ? assembler.build() : null
    if (!body) return null
    const total = toChatUsage(usage)
    if (options.forwardUsage) options.onDelta({ ...head, choices: [], usage: total })
    return { ok: true, body: { ...body, usage: total } }
  }

  return {
    finish,
    take(data, eventName) {
      const sorted = sortEvent('chat', data, eventName, begun)
      if (sorted.kind === 'failed') return sorted.outcome
      // Some compatible servers end their streams with `[DONE]`, as chats end.
      if (sorted.kind === 'done') return finish() ?? { ok: false, verdict: truncatedStream() }
      if (sorted.kind === 'nothing') {
        isStrange ||= sorted.isStrange && head === null
        return null
      }
      const event = sorted.part
      const name = (event.type ?? eventName) as EventName
      if (name === 'message_start' && isJsonObject(event.message)) start(event.message)
      if (head === null && name === 'content_block_start') start({})
      if (head === null) return null
      if (name === 'content_block_start' && isJsonObject(event.content_block)) {
        begun = true
        startBlock(event.index, event.content_block)
      } else if (name === 'content_block_delta' && isJsonObject(event.delta)) {
        growBlock(event.index, event.delta)
      } else if (name === 'content_block_stop') endBlock(event.index)
      else if (name === 'message_delta') {
        addUsage(event.usage)
        if (isJsonObject(event.delta) && event.delta.stop_reason) end(event.delta)
      } else if (name === 'message_stop') {
        return finish() ?? { ok: false, verdict: invalidAnswer('the message stopped without a reason') }
      }
      return null
    },
  }
}
