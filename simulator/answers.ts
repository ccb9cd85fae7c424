import { hash } from 'node:crypto'
import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { packVector, unpackVector } from '../providers/vectors.ts'
import { createRandom, hashText } from './random.ts'

/** The parts of an answer, computed once from the request. */
export type AnswerPlan = {
  type: CallType
  id: string
  model: string
  /** Unix seconds. */
  created: number
  text: string
  toolCall: { id: string; name: string; arguments: string } | null
  choices: number
  /** `length` if the token limit cut the text. */
  finish: 'stop' | 'length' | 'tool_calls'
  inputTokens: number
  /** How many of the input tokens come from the prompt cache. */
  cachedTokens: number
  /** The service tier as answers name it. */
  serviceTier: 'default' | 'flex' | 'priority'
  /** The sum over all choices. */
  outputTokens: number
}

export type AnswerOptions = {
  type: CallType
  body: JsonObject
  model: string
  /** The hash of the prompt alone, so that equal prompts get equal answers. */
  promptHash: string
  inputTokens: number
  cachedTokens?: number
  meanOutputTokens: number
  id: string
  created: number
}

/** A token counts as four characters, as in the accounting. */
const CHARACTERS_PER_TOKEN = 4
const WORDS = 'the queue holds each call until its lane may send it and every answer arrives once'.split(' ')

/** Builds a deterministic answer: the same prompt always gives the same text. */
export function planAnswer(options: AnswerOptions): AnswerPlan {
  const { body, type } = options
  const random = createRandom(hashText(options.promptHash))
  const wanted = Math.max(1, Math.round(options.meanOutputTokens * (0.5 + random())))
  const cap = readCap(type, body)
  const tokens = Math.min(wanted, cap)
  const toolCall = type === 'chat' ? planToolCall(body, options.promptHash) : null
  const choices =
    (type === 'chat' || type === 'completion') && typeof body.n === 'number'
      ? Math.max(1, Math.min(128, body.n))
      : 1
  const text = toolCall ? '' : writeText(options.promptHash, random, tokens * CHARACTERS_PER_TOKEN)
  const perChoice = toolCall ? Math.ceil(toolCall.arguments.length / CHARACTERS_PER_TOKEN) : tokens
  return {
    type,
    id: options.id,
    model: options.model,
    created: options.created,
    text,
    toolCall,
    choices,
    finish: toolCall ? 'tool_calls' : wanted > cap ? 'length' : 'stop',
    inputTokens: options.inputTokens,
    cachedTokens: Math.min(options.cachedTokens ?? 0, options.inputTokens),
    serviceTier:
      body.service_tier === 'flex' || body.service_tier === 'priority' ? body.service_tier : 'default',
    outputTokens: perChoice * choices,
  }
}

/** Builds the body of a chat completion. */
export function buildChat(plan: AnswerPlan): JsonObject {
  const message: JsonObject = { role: 'assistant', content: plan.toolCall ? null : plan.text, refusal: null }
  if (plan.toolCall) message.tool_calls = [buildToolCall(plan.toolCall)]
  return {
    id: plan.id,
    object: 'chat.completion',
    created: plan.created,
    model: plan.model,
    choices: Array.from({ length: plan.choices }, (_, index) => ({
      index,
      message,
      logprobs: null,
      finish_reason: plan.finish,
    })),
    usage: buildChatUsage(plan),
    service_tier: plan.serviceTier,
    system_fingerprint: 'fp_simulator',
  }
}

/** Builds the body of a text completion. */
export function buildCompletion(plan: AnswerPlan): JsonObject {
  return {
    id: plan.id,
    object: 'text_completion',
    created: plan.created,
    model: plan.model,
    choices: Array.from({ length: plan.choices }, (_, index) => ({
      index,
      text: plan.text,
      logprobs: null,
      finish_reason: plan.finish,
    })),
    usage: buildChatUsage(plan),
  }
}

/** Builds a moderation answer. An input that contains `[[flag]]` is flagged as harassment. */
export function buildModeration(plan: AnswerPlan, body: JsonObject): JsonObject {
  const inputs = Array.isArray(body.input) ? body.input : [body.input ?? '']
  const results = inputs.map((input) => {
    const isFlagged = JSON.stringify(input).includes('[[flag]]')
    return {
      flagged: isFlagged,
      categories: { harassment: isFlagged, violence: false },
      category_scores: { harassment: isFlagged ? 0.98 : 0.001, violence: 0.0001 },
    }
  })
  return { id: plan.id.replace('resp_', 'modr-'), model: plan.model, results }
}

/** Ranks documents by the share of the query's words that they contain; ties keep the given order. */
export function buildRerank(plan: AnswerPlan, body: JsonObject): JsonObject {
  const wordsOf = (text: string) => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])
  const query = wordsOf(String(body.query ?? ''))
  const documents = Array.isArray(body.documents) ? body.documents : []
  const scored = documents.map((document, index) => {
    const text = isJsonObject(document) ? String(document.text ?? '') : String(document)
    const words = wordsOf(text)
    const shared = [...query].filter((word) => words.has(word)).length
    const shown = body.return_documents === true ? { document: { text } } : {}
    return { index, relevance_score: query.size === 0 ? 0 : shared / query.size, ...shown }
  })
  const most = typeof body.top_n === 'number' ? body.top_n : documents.length
  const results = scored.toSorted((a, b) => b.relevance_score - a.relevance_score).slice(0, most)
  const usage = { prompt_tokens: plan.inputTokens, total_tokens: plan.inputTokens }
  return { id: plan.id.replace('resp_', 'rerank-'), model: plan.model, results, usage }
}

/** Builds the usage of a chat completion. */
export function buildChatUsage(plan: AnswerPlan): JsonObject {
  return {
    prompt_tokens: plan.inputTokens,
    completion_tokens: plan.outputTokens,
    total_tokens: plan.inputTokens + plan.outputTokens,
    prompt_tokens_details: { cached_tokens: plan.cachedTokens, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  }
}

/** Builds a tool call in the format of chats. */
export function buildToolCall(call: NonNullable<AnswerPlan['toolCall']>): JsonObject {
  return { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } }
}

/** Builds the output item of a response. */
export function buildOutputItem(plan: AnswerPlan, status: string, text: string): JsonObject {
  return {
    id: plan.id.replace('resp_', 'msg_'),
    type: 'message',
    status,
    role: 'assistant',
    content: status === 'in_progress' ? [] : [{ type: 'output_text', text, annotations: [], logprobs: [] }],
  }
}

/** @param status `in_progress` for the first events of a stream, without output and usage */
export function buildResponse(
  plan: AnswerPlan,
  body: JsonObject,
  status: 'in_progress' | 'done',
): JsonObject {
  const isCut = plan.finish === 'length'
  const done = status === 'done'
  return {
    id: plan.id,
    object: 'response',
    created_at: plan.created,
    status: done ? (isCut ? 'incomplete' : 'completed') : 'in_progress',
    background: false,
    error: null,
    incomplete_details: done && isCut ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model: plan.model,
    output: done ? [buildOutputItem(plan, isCut ? 'incomplete' : 'completed', plan.text)] : [],
    parallel_tool_calls: true,
    previous_response_id: body.previous_response_id ?? null,
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: 'disabled',
    service_tier: plan.serviceTier,
    usage: done
      ? {
          input_tokens: plan.inputTokens,
          input_tokens_details: { cached_tokens: plan.cachedTokens },
          output_tokens: plan.outputTokens,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: plan.inputTokens + plan.outputTokens,
        }
      : null,
  }
}

/** Builds unit vectors from the hashes of the inputs, in base64 if the request asks for it. */
export function buildEmbeddings(
  inputs: readonly (string | number[])[],
  options: { model: string; dimensions: number; base64: boolean; inputTokens: number },
): JsonObject {
  const data = inputs.map((input, index) => {
    const packed = packVector(makeVector(input, options.dimensions))
    return { object: 'embedding', index, embedding: options.base64 ? packed : unpackVector(packed) }
  })
  const usage = { prompt_tokens: options.inputTokens, total_tokens: options.inputTokens }
  return { object: 'list', data, model: options.model, usage }
}

/** The vector of one input: each component is uniformly random, then the vector is scaled to length one. */
function makeVector(input: string | number[], dimensions: number): Float64Array {
  const random = createRandom(hashText(typeof input === 'string' ? input : `tokens ${input.join(' ')}`))
  const vector = new Float64Array(dimensions)
  let square = 0
  for (let index = 0; index < dimensions; index += 1) {
    const value = random() - 0.5
    vector[index] = value
    square += value * value
  }
  const scale = 1 / Math.sqrt(square)
  for (let index = 0; index < dimensions; index += 1) vector[index]! *= scale
  return vector
}

/** Hashes the endpoint, the model and the prompt. Other members of the request do not count. */
export function hashPrompt(type: CallType, model: string, body: JsonObject): string {
  return hash('sha1', `${type}\n${model}\n${JSON.stringify(readPrompt(type, body))}`)
}

function readPrompt(type: CallType, body: JsonObject): JsonValue | undefined {
  switch (type) {
    case 'chat':
    case 'message':
      return body.messages
    case 'response':
      return [body.instructions ?? null, body.input ?? null]
    case 'completion':
    case 'image':
      return body.prompt
    case 'image_edit':
      return [body.prompt ?? null, body.image ?? null, body.mask ?? null]
    case 'transcription':
    case 'translation':
      return [body.prompt ?? null, body.file ?? null]
    case 'rerank':
      return [body.query ?? null, body.documents ?? null]
    default:
      return body.input
  }
}

/** Lists the texts of a prompt that may contain a marker: one per message, item or input. */
export function listPrompts(type: CallType, body: JsonObject): string[] {
  const prompt = type === 'response' ? body.input : readPrompt(type, body)
  if (type === 'embedding' && Array.isArray(prompt)) return prompt.filter((one) => typeof one === 'string')
  return [typeof prompt === 'string' ? prompt : JSON.stringify(prompt ?? '')]
}

function readCap(type: CallType, body: JsonObject): number {
  const isOlder = type === 'chat' || type === 'completion'
  const cap = isOlder ? (body.max_completion_tokens ?? body.max_tokens) : body.max_output_tokens
  return typeof cap === 'number' && cap > 0 ? Math.floor(cap) : Number.POSITIVE_INFINITY
}

/** A chat with `[[tool]]`, or `tool_choice: "required"`, calls the first tool. */
function planToolCall(body: JsonObject, promptHash: string): AnswerPlan['toolCall'] {
  const tool = Array.isArray(body.tools) ? body.tools.find(isJsonObject) : undefined
  if (!tool) return null
  if (body.tool_choice !== 'required' && !JSON.stringify(body.messages ?? '').includes('[[tool]]'))
    return null
  const named = isJsonObject(tool.function) ? tool.function.name : tool.name
  const id = `call_${promptHash.slice(0, 24)}`
  return {
    id,
    name: readName(named),
    arguments: JSON.stringify({ query: promptHash.slice(0, 8), limit: 10 }),
  }
}

function readName(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : 'tool'
}

function writeText(promptHash: string, random: () => number, length: number): string {
  let text = `Answer ${promptHash.slice(0, 8)}:`
  while (text.length < length) text += ` ${WORDS[Math.floor(random() * WORDS.length)]}`
  return text.slice(0, length)
}
