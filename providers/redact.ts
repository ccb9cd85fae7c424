import type { JsonObject, JsonValue } from '../lib/json.ts'
import { readProviderError } from './provider-error.ts'

const MAX_MESSAGE = 500
/** Characters of JSON. Of a larger error object only OpenAI's four members are kept. */
const MAX_ERROR_BODY = 16_384
/** Error objects are almost flat. */
const MAX_ERROR_DEPTH = 8
const KEY_LIKE = /\b(?:sk|gsk|xai)-[\w*.-]{4,}|\bAIza[\w-]{10,}|\bBearer\s+\S+/gi

/** Prepares an error object for display and storage: without keys, and of bounded size. */
export function redactProviderError(body: JsonObject, secrets: readonly string[]): JsonObject {
  const clean = cleanValue(body, secrets, 0) as JsonObject
  if (JSON.stringify(clean).length <= MAX_ERROR_BODY) return clean
  const { message, type, param, code } = readProviderError(clean)
  return { message: shorten(message ?? ''), type: type ?? null, param: param ?? null, code: code ?? null }
}

function cleanValue(value: JsonValue | undefined, secrets: readonly string[], depth: number): JsonValue {
  if (typeof value === 'string') return removeKeys(value, secrets)
  if (typeof value !== 'object' || value === null) return value ?? null
  if (depth >= MAX_ERROR_DEPTH) return null
  if (Array.isArray(value)) return value.map((item) => cleanValue(item, secrets, depth + 1))
  const members = Object.entries(value).map(([name, member]) => [
    name,
    cleanValue(member, secrets, depth + 1),
  ])
  return Object.fromEntries(members)
}

/** Prepares a message for display and storage: without keys, at most 500 characters. */
export function redact(message: string, secrets: readonly string[]): string {
  return shorten(removeKeys(message, secrets))
}

function removeKeys(text: string, secrets: readonly string[]): string {
  let clean = text
  for (const secret of secrets) if (secret.length >= 4) clean = clean.replaceAll(secret, '[key]')
  return clean.replace(KEY_LIKE, '[key]')
}

function shorten(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE - 1)}…` : text
}
