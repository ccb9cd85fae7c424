import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { JobType } from './job.ts'
import { splitPresentation } from './presentation.ts'

/** SHA-256 (hex) over the RFC 8785 form of a value: equal for equal JSON, whatever the order of its members. */
export function hashCanonical(value: JsonValue): string {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('only JSON values can be hashed')
  return hash('sha256', text, 'hex')
}

/**
 * What makes two jobs ask for the same answer: type, model and body, but for how the answer is handed over. One input of
 * an embedding job is the same by itself and alone in a list.
 */
export function contentHash(type: JobType, model: string, body: JsonObject): string {
  const { content } = splitPresentation(type, body)
  if (type === 'embedding') {
    const [input, ...others] = normalizeInputs(content) ?? []
    if (input !== undefined && others.length === 0) content.input = input
  }
  return hashCanonical({ type, model, body: content })
}
