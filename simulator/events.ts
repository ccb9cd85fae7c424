import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { type AnswerPlan, buildChatUsage, buildOutputItem, buildResponse, buildToolCall } from './answers.ts'

/** One piece of a stream as it is sent, and the number of tokens in it. */
export type StreamPiece = { text: string; tokens: number }

const CHARACTERS_PER_TOKEN = 4

/** Lists the events of a streamed answer in order, ending with the terminal one. */
export function listEvents(plan: AnswerPlan, body: JsonObject, chunkTokens: number): StreamPiece[] {
  if (plan.type === 'completion') return listCompletionChunks(plan, body, chunkTokens)
  return plan.type === 'chat'
    ? listChatChunks(plan, body, chunkTokens)
    : listResponseEvents(plan, body, chunkTokens)
}

/** The event that OpenAI sends when a stream fails midway. */
export function buildStreamError(plan: AnswerPlan): StreamPiece {
  const error = {
    type: 'server_error',
    code: 'server_error',
    message: 'The server had an error.',
    param: null,
  }
  const isResponse = plan.type === 'response'
  const event = !isResponse ? { error } : { ...error, type: 'error', sequence_number: 1000 }
  return { text: isResponse ? writeEvent('error', event) : writeData(event), tokens: 0 }
}

function listChatChunks(plan: AnswerPlan, body: JsonObject, chunkTokens: number): StreamPiece[] {
  const includeUsage = isJsonObject(body.stream_options) && body.stream_options.include_usage === true
  const base: JsonObject = {
    id: plan.id,
    object: 'chat.completion.chunk',
    created: plan.created,
    model: plan.model,
    service_tier: plan.serviceTier,
    system_fingerprint: 'fp_simulator',
  }
  if (includeUsage) base.usage = null
  const pieces: StreamPiece[] = []
  const add = (index: number, delta: JsonObject, finish: string | null, tokens: number) => {
    const choices = [{ index, delta, logprobs: null, finish_reason: finish }]
    pieces.push({ text: writeData({ ...base, choices }), tokens })
  }
  for (let index = 0; index < plan.choices; index += 1) {
    if (plan.toolCall) {
      const opening = { ...plan.toolCall, arguments: '' }
      const calls = [{ index: 0, ...buildToolCall(opening) }]
      add(index, { role: 'assistant', content: null, tool_calls: calls }, null, 0)
      for (const part of cutText(plan.toolCall.arguments, chunkTokens)) {
        add(index, { tool_calls: [{ index: 0, function: { arguments: part } }] }, null, countTokens(part))
      }
    } else {
      add(index, { role: 'assistant', content: '', refusal: null }, null, 0)
      for (const part of cutText(plan.text, chunkTokens))
        add(index, { content: part }, null, countTokens(part))
    }
    add(index, {}, plan.finish, 0)
  }
  if (includeUsage)
    pieces.push({ text: writeData({ ...base, choices: [], usage: buildChatUsage(plan) }), tokens: 0 })
  pieces.push({ text: 'data: [DONE]\n\n', tokens: 0 })
  return pieces
}

function listCompletionChunks(plan: AnswerPlan, body: JsonObject, chunkTokens: number): StreamPiece[] {
  const includeUsage = isJsonObject(body.stream_options) && body.stream_options.include_usage === true
  const base = { id: plan.id, object: 'text_completion', created: plan.created, model: plan.model }
  const pieces: StreamPiece[] = []
  const add = (index: number, text: string, finish: string | null) => {
    const choices = [{ index, text, logprobs: null, finish_reason: finish }]
    pieces.push({ text: writeData({ ...base, choices }), tokens: countTokens(text) })
  }
  for (let index = 0; index < plan.choices; index += 1) {
    for (const part of cutText(plan.text, chunkTokens)) add(index, part, null)
    add(index, '', plan.finish)
  }
  if (includeUsage)
    pieces.push({ text: writeData({ ...base, choices: [], usage: buildChatUsage(plan) }), tokens: 0 })
  pieces.push({ text: 'data: [DONE]\n\n', tokens: 0 })
  return pieces
}

function listResponseEvents(plan: AnswerPlan, body: JsonObject, chunkTokens: number): StreamPiece[] {
  const pieces: StreamPiece[] = []
  const add = (type: string, members: JsonObject, tokens = 0) => {
    pieces.push({ text: writeEvent(type, { type, sequence_number: pieces.length, ...members }), tokens })
  }
  const opening = buildResponse(plan, body, 'in_progress')
  const done = buildResponse(plan, body, 'done')
  const status = done.status === 'incomplete' ? 'incomplete' : 'completed'
  const item = buildOutputItem(plan, status, plan.text)
  const place: JsonObject = { item_id: item.id, output_index: 0, content_index: 0 }
  const part = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] })
  add('response.created', { response: opening })
  add('response.in_progress', { response: opening })
  add('response.output_item.added', { output_index: 0, item: buildOutputItem(plan, 'in_progress', '') })
  add('response.content_part.added', { ...place, part: part('') })
  for (const delta of cutText(plan.text, chunkTokens)) {
    add('response.output_text.delta', { ...place, delta, logprobs: [] }, countTokens(delta))
  }
  add('response.output_text.done', { ...place, text: plan.text, logprobs: [] })
  add('response.content_part.done', { ...place, part: part(plan.text) })
  add('response.output_item.done', { output_index: 0, item })
  add(`response.${status}`, { response: done })
  return pieces
}

function cutText(text: string, chunkTokens: number): string[] {
  const size = Math.max(1, chunkTokens) * CHARACTERS_PER_TOKEN
  return Array.from({ length: Math.ceil(text.length / size) }, (_, index) =>
    text.slice(index * size, (index + 1) * size),
  )
}

function countTokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN)
}

function writeData(value: JsonObject): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

function writeEvent(name: string, value: JsonObject): string {
  return `event: ${name}\n${writeData(value)}`
}
