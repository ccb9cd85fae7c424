import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { createChatAssembler } from '../../providers/assemble.ts'
import { listChatChunks } from './replay-chat.ts'
import type { StreamForm } from './stream.ts'

const DONE = 'data: [DONE]\n\n'

/** How chats are streamed: data-only events, the last of them `[DONE]`. */
export function createChatForm(asked: JsonObject): StreamForm {
  const options = asked.stream_options
  const includeUsage = isJsonObject(options) && options.include_usage === true
  const sent = createChatAssembler()
  return {
    chunk(chunk) {
      if (isJsonObject(chunk)) sent.add(chunk)
      return write(chunk)
    },
    end: (result) => (JSON.stringify(sayOf(sent.build())) === JSON.stringify(sayOf(result)) ? DONE : null),
    replay: (result) => [...listChatChunks(result, includeUsage)].map(write).join('') + DONE,
    error: (error) => write({ error }),
  }
}

/** What a completion says, choice by choice; two of one answer may differ in members that say nothing. */
function sayOf(completion: JsonObject | null): JsonValue {
  const choices = Array.isArray(completion?.choices) ? completion.choices : []
  return choices.filter(isJsonObject).map(({ message, finish_reason: finish }) => {
    const { content, refusal, tool_calls: calls } = isJsonObject(message) ? message : {}
    const tools = Array.isArray(calls) ? calls.filter(isJsonObject).map(argumentsOf) : []
    return [content || null, refusal || null, tools, finish ?? null]
  })
}

function argumentsOf({ function: tool, custom }: JsonObject): JsonValue {
  if (isJsonObject(tool)) return tool.arguments ?? null
  return isJsonObject(custom) ? (custom.input ?? null) : null
}

function write(value: JsonValue): string {
  return `data: ${JSON.stringify(value)}\n\n`
}
