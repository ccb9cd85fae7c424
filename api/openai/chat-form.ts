import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { stringifyLine } from '../../lib/json-source.ts'
import { createChatAssembler } from '../../providers/assemble.ts'
import { textOfPart } from '../../providers/content-parts.ts'
import { listChatChunks } from './replay-chat.ts'
import type { StreamForm } from './stream.ts'

const DONE = 'data: [DONE]\n\n'

/** Streams chats: data-only events, the last one `[DONE]`. */
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

/** The content of a completion, choice by choice. Two versions of one answer may differ in other members. */
function sayOf(completion: JsonObject | null): JsonValue {
  const choices = Array.isArray(completion?.choices) ? completion.choices : []
  return choices.filter(isJsonObject).map(({ message, finish_reason: finish }) => {
    const { content, refusal, tool_calls: calls } = isJsonObject(message) ? message : {}
    const tools = Array.isArray(calls) ? calls.filter(isJsonObject).map(callOf) : []
    return [contentOf(content) || null, refusal || null, tools, finish ?? null]
  })
}

/** The text of a content that is a string or parts. Other parts count as their JSON. */
function contentOf(content: JsonValue | undefined): string {
  if (!Array.isArray(content)) return typeof content === 'string' ? content : ''
  return content.map((part) => textOfPart(part) ?? JSON.stringify(part)).join('')
}

function callOf({ id, function: tool, custom }: JsonObject): JsonValue {
  const called = isJsonObject(tool) ? tool : isJsonObject(custom) ? custom : {}
  return [id || null, called.name || null, (called.arguments ?? called.input) || null]
}

function write(value: JsonValue): string {
  return `data: ${stringifyLine(value)}\n\n`
}
