import type { CallType } from '../lib/call-type.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/** English prose and JSON average about four bytes a token. OpenAI's own limiter estimates from characters too. */
const BYTES_PER_TOKEN = 4

/** One 1024×1024 image at high detail: 85 + 4 tiles × 170 tokens (OpenAI, "Images and vision"). The byte size tells nothing. */
const IMAGE_TOKENS = 765

/** Audio costs 10 to 32 tokens a second (OpenAI, Gemini); compressed, a second is about 10 KiB of base64. */
const AUDIO_BYTES_PER_TOKEN = 1024

/** A page costs 1,500 to 3,000 tokens (Anthropic, "PDF support") and takes some hundred KiB. */
const DOCUMENT_BYTES_PER_TOKEN = 256

/** The API refuses deeper bodies. The limit keeps the recursion safe by itself. */
const MAX_DEPTH = 64

/** Members that label parts of a message and hold no prompt text. */
const LABELS = new Set(['role', 'type', 'id', 'call_id', 'tool_call_id', 'status', 'detail', 'file_id'])

/** Members whose strings are always text for the model. Their form does not count. */
const TEXTS = new Set([
  'content',
  'text',
  'input',
  'output',
  'arguments',
  'instructions',
  'prompt',
  'thinking',
  'reasoning',
  'reasoning_content',
  'refusal',
])

/** Members that hold media or refer to them. */
const IMAGES = new Set(['image_url', 'image', 'input_image'])
const AUDIOS = new Set(['input_audio', 'audio_url', 'audio', 'video_url', 'video'])
const DOCUMENTS = new Set(['file_data', 'file_url'])

/** Shorter strings always count as text. */
const SHORTEST_MEDIA = 512
const DATA_URL = /^data:[^,]{0,200};base64,/i
/** No word is this long. Some encoders break base64 into lines of 64 characters or more. */
const LONG_WORD = /^[\w+/=-]{60}/
const NOT_BASE64 = /[^\w+/=\s-]/

/**
 * Estimates the input tokens of a request: bytes / 4 of what the model reads. An image counts a fixed number, audio and documents count by
 * length, at any place in the body. At least one.
 */
export function countPrompt(type: CallType, body: JsonObject): number {
  if (type === 'embedding') return countEmbeddingInput(body.input).tokens
  const { texts, schemas } = listRead(type, body)
  let bytes = 0
  for (const text of texts) bytes += countText(text)
  for (const schema of schemas) if (schema !== undefined) bytes += countSchema(schema)
  return Math.max(1, Math.ceil(bytes / BYTES_PER_TOKEN))
}

/** Lists what the model reads: texts, and schemas, which count as JSON. */
function listRead(
  type: CallType,
  body: JsonObject,
): { texts: (JsonValue | undefined)[]; schemas: (JsonValue | undefined)[] } {
  if (type === 'message')
    return { texts: [body.system, body.messages], schemas: [body.tools, body.output_config] }
  if (type === 'completion') return { texts: [body.prompt, body.suffix], schemas: [] }
  if (type === 'moderation') return { texts: [body.input], schemas: [] }
  if (type === 'rerank') return { texts: [body.query, body.documents], schemas: [] }
  if (type === 'chat')
    return { texts: [body.messages], schemas: [body.tools, body.functions, body.response_format] }
  // Responses. The prompt of an image and the text of a speech use the same members.
  return { texts: [body.instructions, body.input, body.prompt], schemas: [body.tools, body.text] }
}

/** Estimates the output tokens of an answer, or of one chunk or event of a stream, from its text. 0 where it has none. */
export function countAnswerText(answer: JsonObject): number {
  return Math.ceil(countAnswerBytes(answer) / BYTES_PER_TOKEN)
}

/** Bytes of text that the model wrote in an answer, or in one chunk or event of a stream. */
export function countAnswerBytes(answer: JsonValue): number {
  if (!isJsonObject(answer)) return 0
  if (typeof answer.delta === 'string') return Buffer.byteLength(answer.delta)
  if (Array.isArray(answer.output)) return countText(answer.output)
  if (answer.type === 'message') return countText(answer.content)
  if (answer.type === 'content_block_delta') return countText(answer.delta)
  if (!Array.isArray(answer.choices)) return 0
  let bytes = 0
  for (const choice of answer.choices) {
    if (isJsonObject(choice))
      bytes += countText(choice.delta) + countText(choice.message) + countText(choice.text)
  }
  return bytes
}

export function toTokens(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN)
}

/** Tokens and number of inputs of an embeddings request. Token arrays count exactly. */
export function countEmbeddingInput(input: JsonValue | undefined): { tokens: number; inputs: number } {
  if (!Array.isArray(input))
    return { tokens: countInputTokens(typeof input === 'string' ? input : ''), inputs: 1 }
  if (typeof input[0] === 'number' || input.length === 0)
    return { tokens: Math.max(1, input.length), inputs: 1 }
  let tokens = 0
  for (const one of input) {
    if (typeof one === 'string') tokens += countInputTokens(one)
    else if (Array.isArray(one)) tokens += Math.max(1, one.length)
    else tokens += Math.max(1, toTokens(countText(one)))
  }
  return { tokens, inputs: input.length }
}

/** Tokens of one embedding input: bytes / 4, or the length of a token array; at least one. */
export function countInputTokens(input: string | number[]): number {
  if (typeof input !== 'string') return Math.max(1, input.length)
  return Math.max(1, toTokens(DATA_URL.test(input) ? countMedia(input, '') : Buffer.byteLength(input)))
}

/** Bytes of all text below a value. Media count as the bytes that cost the same tokens. */
function countText(value: JsonValue | undefined, depth = 0): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return 0
  let bytes = 0
  if (Array.isArray(value)) {
    for (const item of value) bytes += countText(item, depth + 1)
    return bytes
  }
  for (const key in value) bytes += countMember(key, value[key], value, depth)
  return bytes
}

function countMember(key: string, value: JsonValue | undefined, parent: JsonObject, depth: number): number {
  if (LABELS.has(key)) return 0
  if (key === 'image_url') return IMAGE_TOKENS * BYTES_PER_TOKEN
  if (DOCUMENTS.has(key) && typeof value === 'string') return countMedia(value, 'application/pdf')
  if (isJsonObject(value) && (IMAGES.has(key) || AUDIOS.has(key))) {
    const kind = IMAGES.has(key) ? 'image/' : 'audio/'
    let bytes = 0
    for (const inner in value) {
      const one = value[inner]
      bytes += isMedia(one) ? countMedia(one, kind) : countMember(inner, one, value, depth + 1)
    }
    return bytes
  }
  if (TEXTS.has(key) || !isMedia(value)) return countText(value, depth + 1)
  const told = parent.media_type ?? parent.mime_type ?? parent.mimeType
  return countMedia(value, typeof told === 'string' ? told : AUDIOS.has(key) ? 'audio/' : 'image/')
}

function isMedia(value: JsonValue | undefined): value is string {
  if (typeof value !== 'string' || value.length < SHORTEST_MEDIA) return false
  const head = value.slice(0, 1024)
  if (!LONG_WORD.test(head)) return DATA_URL.test(head)
  return !NOT_BASE64.test(head) && head.split(/\s+/).length < head.length / 50
}

/**
 * The number of text bytes that cost as many tokens as the media.
 *
 * @param told the media type if the data URL names none
 */
function countMedia(value: string, told: string): number {
  const type = /^data:([^;,]{0,100})/i.exec(value.slice(0, 128))?.[1] ?? told
  if (type.startsWith('image/') || type === '') return IMAGE_TOKENS * BYTES_PER_TOKEN
  const isAudio = type.startsWith('audio/') || type.startsWith('video/')
  const perToken = isAudio ? AUDIO_BYTES_PER_TOKEN : DOCUMENT_BYTES_PER_TOKEN
  return Math.ceil(value.length / perToken) * BYTES_PER_TOKEN
}

/** Schemas count as JSON. A tool may contain an image. */
function countSchema(schema: JsonValue): number {
  const text = JSON.stringify(schema)
  if (text.length < SHORTEST_MEDIA) return Buffer.byteLength(text)
  let media = 0
  const rest = JSON.stringify(schema, (key, value) => {
    if (TEXTS.has(key) || !isMedia(value)) return value
    media += countMedia(value, 'image/')
    return ''
  })
  return Buffer.byteLength(rest) + media
}
