import { ApiError } from './errors.ts'

const maxLength = 255

export type IdempotencyPolicy = 'replay' | 'retry-failed'

/**
 * Reads an `Idempotency-Key` header: a structured-field string (`"…"`, RFC 8941 section 3.3.3, with `\"` and `\\`) or a bare token. Both
 * spellings of a key are the same key. Null: no header. Throws `invalid_request`.
 */
export function parseIdempotencyKey(header: string | string[] | undefined): string | null {
  if (header === undefined) return null
  if (Array.isArray(header)) throw invalid('was sent more than once')
  const key = header.startsWith('"') ? unquote(header) : header
  return checkIdempotencyKey(key)
}

/** Checks a key from any source. Returns it unchanged. */
export function checkIdempotencyKey(key: string): string {
  if (key.length === 0) throw invalid('is empty')
  if (key.length > maxLength) throw invalid(`has more than ${maxLength} characters`)
  if (!/^[\x20-\x7e]+$/.test(key)) throw invalid('has characters other than printable ASCII')
  return key
}

/**
 * Reads `Idempotency-Key-Policy`: what to do when the key's job failed or was cancelled. `replay`, the default, returns that job;
 * `retry-failed` queues it again. Throws `invalid_request`.
 */
export function parseIdempotencyPolicy(header: string | string[] | undefined): IdempotencyPolicy {
  if (header === undefined) return 'replay'
  const policy = String(header).trim().toLowerCase()
  if (policy === 'replay' || policy === 'retry-failed') return policy
  throw new ApiError('invalid_request', 'Idempotency-Key-Policy: expected replay or retry-failed', {
    param: 'Idempotency-Key-Policy',
  })
}

function unquote(header: string): string {
  const content = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1]
  if (content === undefined) throw invalid('is not a valid quoted string')
  return content.replace(/\\(["\\])/g, '$1')
}

function invalid(what: string): ApiError {
  return new ApiError('invalid_request', `Idempotency-Key: ${what}`, { param: 'Idempotency-Key' })
}
