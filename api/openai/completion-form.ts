import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { stringifyLine, withMembers } from '../../lib/json-source.ts'
import { cutText } from './cut-text.ts'
import type { StreamForm } from './stream.ts'

const DONE = 'data: [DONE]\n\n'

/** Streams text completions: data-only events, the last one `[DONE]`. */
export function createCompletionForm(asked: JsonObject): StreamForm {
  const options = asked.stream_options
  const includeUsage = isJsonObject(options) && options.include_usage === true
  const sent = new Map<number, string>()
  return {
    chunk(chunk) {
      for (const { index, text } of listChoices(chunk)) sent.set(index, (sent.get(index) ?? '') + text)
      return write(chunk)
    },
    end: (result) =>
      listChoices(result).every(({ index, text }) => (sent.get(index) ?? '') === text) ? DONE : null,
    replay: (result) => [...listChunks(result, includeUsage)].map(write).join('') + DONE,
    error: (error) => write({ error }),
  }
}

/** The chunks that a finished completion would have been streamed with. */
function* listChunks(result: JsonObject, includeUsage: boolean): Generator<JsonObject> {
  const { usage, choices } = result
  const base = withMembers(result, { usage: undefined, choices: undefined })
  for (const choice of Array.isArray(choices) ? choices.filter(isJsonObject) : []) {
    const { index = 0, text, finish_reason: finish = null, ...members } = choice
    for (const piece of cutText(String(text ?? ''))) {
      yield withMembers(base, { choices: [{ index, text: piece, logprobs: null, finish_reason: null }] })
    }
    yield withMembers(base, { choices: [{ ...members, index, text: '', finish_reason: finish }] })
  }
  if (includeUsage && isJsonObject(usage)) yield withMembers(base, { choices: [], usage })
}

function listChoices(value: JsonValue): { index: number; text: string }[] {
  const choices = isJsonObject(value) && Array.isArray(value.choices) ? value.choices : []
  return choices.filter(isJsonObject).map(({ index, text }, at) => ({
    index: typeof index === 'number' ? index : at,
    text: typeof text === 'string' ? text : '',
  }))
}

function write(value: JsonValue): string {
  return `data: ${stringifyLine(value)}\n\n`
}
