import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { isGiven } from './text-members.ts'

/** The parts of a provider's error that classify it; absent where it gave none. */
export type ProviderError = {
  code?: string
  type?: string
  param?: string
  message?: string
  status?: number
}

/** Members that hold the message of an error, OpenAI's first. */
const MESSAGES = [
  'message',
  'detail',
  'details',
  'msg',
  'error_msg',
  'error_message',
  'status_msg',
  'error_description',
  'errorMessage',
  // AWS writes its members in either way.
  'Message',
  'errors',
  'title',
] as const
const CODES = ['code', 'error_code', 'err_code', 'errorCode'] as const
/** Members with a status, which is used as the code where there is no other code. */
const STATUS_CODES = ['status_code', 'statusCode'] as const
/** Members that name the type of an error: OpenAI's, AWS's, that of Hugging Face's servers. */
const TYPES = ['type', '__type', 'error_type'] as const
/** Members that only an error has, in a body without an answer's lists. */
const FLAT_SIGNS = [
  'detail',
  'details',
  'errors',
  'error_code',
  'error_msg',
  'error_message',
  'errorMessage',
] as const
const ANSWER_LISTS = ['choices', 'output', 'data', 'content'] as const
const MAX_LISTED = 5
const MAX_DEPTH = 4

/** Events that only keep the connection open. */
const HEARTBEATS = new Set<unknown>(['ping', 'keepalive', 'keep-alive', 'heartbeat'])

/** Reads an error of any shape: OpenAI's object, plain text, FastAPI's lists, nested objects. */
export function readProviderError(value: unknown): ProviderError {
  return readLevel(value, 0)
}

function readLevel(value: unknown, depth: number): ProviderError {
  if (typeof value === 'string') {
    const inner = depth < MAX_DEPTH ? openText(value) : null
    if (inner !== null) return readLevel(inner, depth + 1)
    return value.trim() === '' ? {} : { message: value.trim() }
  }
  if (Array.isArray(value)) {
    const message = textOf(value as JsonValue, depth)
    const code = readCode(value[0], CODES)
    return { ...(code === undefined ? {} : { code }), ...(message === '' ? {} : { message }) }
  }
  if (!isJsonObject(value)) return {}
  const error: ProviderError = {}
  const listed = Array.isArray(value.errors) ? value.errors[0] : undefined
  const code = readCode(value, CODES) ?? readCode(listed, CODES) ?? readCode(value, STATUS_CODES)
  if (code !== undefined) error.code = code
  const type = readType(value)
  if (type !== undefined) error.type = type
  if (typeof value.param === 'string') error.param = value.param
  if (typeof value.status === 'number') error.status = value.status
  const message = MESSAGES.map((name) => textOf(value[name], depth)).find((text) => text !== '')
  if (message !== undefined) {
    // Gateways put the whole error of the provider behind them into the words of their own.
    const inner = depth < MAX_DEPTH ? openText(message) : null
    Object.assign(error, inner === null ? { message } : { message, ...readLevel(inner, depth + 1) })
  }
  const inner = value.error
  if (inner !== undefined && inner !== null && depth < MAX_DEPTH) {
    const { message: words = error.message, ...rest } = readLevel(inner, depth + 1)
    const said = typeof inner === 'string' ? (error.message ?? words) : words
    return { ...error, ...rest, ...(said === undefined ? {} : { message: said }) }
  }
  const raw = isJsonObject(value.metadata) ? readRaw(value.metadata.raw, depth) : ''
  if (raw !== '' && !error.message?.includes(raw)) {
    error.message = error.message === undefined ? raw : `${error.message}: ${raw}`
  }
  return error
}

function readCode(value: unknown, names: readonly string[]): string | undefined {
  if (!isJsonObject(value)) return undefined
  for (const name of names) {
    const code = value[name]
    if ((typeof code === 'string' && code !== '') || typeof code === 'number') return String(code)
  }
  return undefined
}

/** The type of an error. RFC 9457's types are addresses of pages, so they are left out. AWS puts a namespace before the name. */
function readType(value: JsonObject): string | undefined {
  for (const name of TYPES) {
    const type = value[name]
    if (typeof type !== 'string' || type === '' || /^(?:about:|urn:|https?:)/.test(type)) continue
    return type.slice(type.lastIndexOf('#') + 1)
  }
  return undefined
}

/** OpenRouter's `metadata.raw`: the error of the provider behind it. */
function readRaw(raw: JsonValue | undefined, depth: number): string {
  if (typeof raw !== 'string' || depth >= MAX_DEPTH) return ''
  return readLevel(raw, depth).message ?? raw
}

/** The error that a text holds as JSON; null where it is nothing but text. */
function openText(text: string): JsonObject | null {
  if (!text.trimStart().startsWith('{')) return null
  const value = parse(text)
  return isJsonObject(value) && Object.keys(value).length > 0 ? value : null
}

/** The message in a text, in a list of findings (`{loc, msg}`), or in an object around either. */
function textOf(value: JsonValue | undefined, depth: number): string {
  if (typeof value === 'string') return value.trim()
  if (depth >= MAX_DEPTH) return ''
  if (Array.isArray(value)) {
    const texts = value.slice(0, MAX_LISTED).map((item) => {
      if (!isJsonObject(item)) return textOf(item, depth + 1)
      const text = textOf(item.msg ?? item.message ?? item.detail ?? item.error, depth + 1)
      const place = Array.isArray(item.loc) ? item.loc.join('.') : ''
      return place !== '' && text !== '' ? `${place}: ${text}` : text
    })
    return texts.filter((text) => text !== '').join('; ')
  }
  if (!isJsonObject(value)) return ''
  for (const name of MESSAGES) {
    const text = textOf(value[name], depth + 1)
    if (text !== '') return text
  }
  const text = textOf(value.error, depth + 1)
  return text === '' ? textOfFields(value, depth) : text
}

/** Findings by the name of the member that they are about: `{"model":["is unknown"]}`. */
function textOfFields(value: JsonObject, depth: number): string {
  const texts = Object.entries(value)
    .filter(([, findings]) => Array.isArray(findings))
    .slice(0, MAX_LISTED)
    .map(([name, findings]) => [name, textOf(findings, depth + 1)])
  return texts
    .filter(([, text]) => text !== '')
    .map(([name, text]) => `${name}: ${text}`)
    .join('; ')
}

/**
 * Finds an error of any shape in a body or event that came with a 200. Undefined if there is none.
 *
 * @param name of the event, where it has one
 */
export function findError(body: JsonObject, name: string | null = null): JsonValue | undefined {
  if (isErrorValue(body.error)) return unwrap(body, body.error)
  if (isHeartbeat(body, name)) return undefined
  if (name === 'error' || body.object === 'error' || body.type === 'error') return dropEnvelope(body)
  const { base_resp: status } = body
  if (isJsonObject(status) && isGiven(status.status_code)) return status
  if (Array.isArray(body.choices)) {
    for (const choice of body.choices) {
      if (isJsonObject(choice) && isErrorValue(choice.error)) return choice.error
    }
  }
  if (ANSWER_LISTS.some((list) => Array.isArray(body[list]))) return undefined
  if (typeof body.type === 'string' && /[._]/.test(body.type) && !body.type.endsWith('_error'))
    return undefined
  if (FLAT_SIGNS.some((sign) => isGiven(body[sign]))) return body
  const words = body.message ?? body.msg
  if (isGiven(words) && !Array.isArray(words) && !isJsonObject(words)) return body
  return undefined
}

/** Whether an event only keeps the connection open. */
export function isHeartbeat(body: JsonObject, name: string | null): boolean {
  return HEARTBEATS.has(name) || HEARTBEATS.has(body.type) || Object.keys(body).length === 0
}

/** Removes members that belong to the event, not to the error. */
function dropEnvelope(body: JsonObject): JsonObject {
  const { sequence_number: _number, ...rest } = body
  if (rest.type === 'error') delete rest.type
  return rest
}

function isErrorValue(value: JsonValue | undefined): value is JsonValue {
  if (typeof value === 'string') return value.trim() !== ''
  if (Array.isArray(value)) return value.length > 0
  return isJsonObject(value) ? Object.values(value).some(isGiven) : value === true
}

/** The error within a body; the body itself where it says more than a bare name of the error. */
function unwrap(body: JsonObject, error: JsonValue): JsonValue {
  const saysMore = typeof error === 'string' && MESSAGES.some((name) => textOf(body[name], 0) !== '')
  return saysMore ? body : withRequestId(error, body)
}

/** Copies the request id beside the error into it: Anthropic's support asks for it. */
function withRequestId(error: JsonValue, beside: JsonObject): JsonValue {
  const { request_id: id } = beside
  return isJsonObject(error) && typeof id === 'string' ? { ...error, request_id: id } : error
}

/**
 * Reads the error from the body of an answer with an error status: an object, a list with one (Google), an event stream, or plain text. For
 * an HTML page, its title. Undefined where there is no message.
 */
export function parseErrorBody(text: string): unknown {
  const trimmed = text.replace(/^\uFEFF/, '').trim()
  const value = parse(trimmed) ?? parse(/^data:(.*)$/m.exec(trimmed)?.[1] ?? '')
  const body = Array.isArray(value) ? (value as unknown[])[0] : value
  if (isJsonObject(body)) return isErrorValue(body.error) ? unwrap(body, body.error) : body
  if (typeof body === 'string') return body
  if (trimmed.startsWith('<')) return /<title>([^<]{1,200})<\/title>/i.exec(trimmed)?.[1]?.trim()
  return trimmed === '' ? undefined : trimmed
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
