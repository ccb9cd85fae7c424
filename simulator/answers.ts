import { hash } from 'node:crypto'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { CallType } from '../providers/provider.ts'
import { packVector, unpackVector } from '../providers/vectors.ts'
import { createRandom, hashText } from './random.ts'

/** Everything that an answer is made of, worked out once from the request. */
export type AnswerPlan = {
  type: CallType
  id: string
  model: string
  /** Unix seconds. */
  created: number
  text: string
  toolCall: { id: string; name: string; arguments: string } | null
  choices: number
  /** `length` when the cap cut the text. */
  finish: 'stop' | 'length' | 'tool_calls'
  inputTokens: number
  /** Over all choices. */
  outputTokens: number
}

export type AnswerOptions = {
  type: CallType
  body: JsonObject
  model: string
  /** Of the prompt alone, so that the same prompt answers the same. */
  promptHash: string
  inputTokens: number
  meanOutputTokens: number
  id: string
  created: number
}

/** A token is taken for four characters, as in the accounting. */
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
  const choices = type === 'chat' && typeof body.n === 'number' ? Math.max(1, Math.min(128, body.n)) : 1
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
    outputTokens: perChoice * choices,
  }
}

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
    service_tier: 'default',
    system_fingerprint: 'fp_simulator',
  }
}

export function buildChatUsage(plan: AnswerPlan): JsonObject {
  return {
    prompt_tokens: plan.inputTokens,
    completion_tokens: plan.outputTokens,
    total_tokens: plan.inputTokens + plan.outputTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  }
}

export function buildToolCall(call: NonNullable<AnswerPlan['toolCall']>): JsonObject {
  return { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } }
}

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
    usage: done
      ? {
          input_tokens: plan.inputTokens,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: plan.outputTokens,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: plan.inputTokens + plan.outputTokens,
        }
      : null,
  }
}

/** Unit vectors from the hashes of the inputs alone, base64 where asked for. */
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

/** The vector of one input: spread evenly in every direction of the cube, then brought to length one. */
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

/** Equal for equal calls: endpoint, model and prompt; other members of the request do not count. */
export function hashPrompt(type: CallType, model: string, body: JsonObject): string {
  const prompt =
    type === 'chat' ? body.messages : type === 'embedding' ? body.input : [body.instructions, body.input]
  return hash('sha1', `${type}\n${model}\n${JSON.stringify(prompt)}`)
}

/** The texts of a prompt in which a marker may stand: one a message, item or input. */
export function listPrompts(type: CallType, body: JsonObject): string[] {
  const prompt = type === 'chat' ? body.messages : body.input
  if (type === 'embedding' && Array.isArray(prompt)) return prompt.filter((one) => typeof one === 'string')
  return [typeof prompt === 'string' ? prompt : JSON.stringify(prompt ?? '')]
}

function readCap(type: CallType, body: JsonObject): number {
  const cap = type === 'chat' ? (body.max_completion_tokens ?? body.max_tokens) : body.max_output_tokens
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
