import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { JsonValue } from '../lib/json.ts'

/** SHA-256 (hex) over the RFC 8785 form of a value: equal for equal JSON, whatever the order of its members. */
export function hashCanonical(value: JsonValue): string {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('only JSON values can be hashed')
  return hash('sha256', text, 'hex')
}

/** What makes two jobs ask for the same answer: type, model and body, and nothing else. */
export function contentHash(type: string, model: string, body: JsonValue): string {
  return hashCanonical({ type, model, body })
}
