import type { CallType } from '../lib/call-type.ts'
import { normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'
import { countInputTokens } from '../providers/count-tokens.ts'
import { type ErrorAnswer, invalidRequest } from './errors.ts'

/** OpenAI's limits of one embeddings request (API reference, "Create embeddings"). */
const MAX_INPUTS = 2048
const MAX_TOKENS = 300_000
const MAX_TOKENS_PER_INPUT = 8192
const MAX_DIMENSIONS = 3072

/** The required member of a request, by type. */
const NEEDED: Partial<Record<CallType, string>> = {
  completion: 'prompt',
  moderation: 'input',
  rerank: 'documents',
  image: 'prompt',
  image_edit: 'prompt',
  speech: 'input',
  transcription: 'file',
  translation: 'file',
}

/** Refuses what OpenAI refuses; null: the request is valid. */
export function checkRequest(
  type: CallType,
  body: JsonObject,
  text: string,
  poison: string,
): ErrorAnswer | null {
  if (poison !== '' && text.includes(poison)) {
    return invalidRequest(
      'Invalid input: it was flagged by the simulator.',
      type === 'chat' ? 'messages' : 'input',
    )
  }
  if (type === 'embedding') return checkEmbedding(body)
  if (type === 'response') {
    const isSound = typeof body.input === 'string' || Array.isArray(body.input)
    return isSound
      ? null
      : invalidRequest("Missing required parameter: 'input'.", 'input', 'missing_required_parameter')
  }
  const needed = NEEDED[type]
  if (needed !== undefined) {
    return body[needed] === undefined || body[needed] === null
      ? invalidRequest(`Missing required parameter: '${needed}'.`, needed, 'missing_required_parameter')
      : null
  }
  const { messages } = body
  if (!Array.isArray(messages)) {
    return invalidRequest("Missing required parameter: 'messages'.", 'messages', 'missing_required_parameter')
  }
  return messages.length > 0
    ? null
    : invalidRequest("Invalid 'messages': empty array.", 'messages', 'empty_array')
}

function checkEmbedding(body: JsonObject): ErrorAnswer | null {
  const inputs = normalizeInputs(body)
  if (inputs === null || inputs.length === 0) return invalidRequest("'$.input' is invalid.", 'input')
  if (inputs.length > MAX_INPUTS) {
    return invalidRequest(`Invalid 'input': array too long. Expected at most ${MAX_INPUTS} items.`, 'input')
  }
  let tokens = 0
  for (const input of inputs) {
    if (input.length === 0)
      return invalidRequest("'$.input' is invalid: input cannot be an empty string.", 'input')
    const own = countInputTokens(input)
    tokens += own
    if (own > MAX_TOKENS_PER_INPUT) {
      return invalidRequest(`This model's maximum context length is ${MAX_TOKENS_PER_INPUT} tokens.`, 'input')
    }
  }
  if (tokens > MAX_TOKENS) {
    const message = `Invalid 'input': maximum request size is ${MAX_TOKENS} tokens per request.`
    return invalidRequest(message, 'input', 'max_tokens_per_request')
  }
  const { dimensions } = body
  if (dimensions === undefined) return null
  const isSound =
    Number.isInteger(dimensions) && Number(dimensions) >= 1 && Number(dimensions) <= MAX_DIMENSIONS
  return isSound ? null : invalidRequest("Invalid 'dimensions'.", 'dimensions')
}
