import { hash } from 'node:crypto'
import { canonicalizeText } from '../lib/canonical-json.ts'
import { normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'

/**
 * Jobs of one lane with the same key may share a provider request: they differ in `input` alone (and in
 * `encoding_format`, for upstream is always asked for base64). Texts and token arrays do not mix in one request.
 * Null when the job must travel alone: an odd shape, or an empty input, which would fail the others with it.
 */
export function coalesceKey(body: JsonObject): string | null {
  const inputs = normalizeInputs(body)
  if (inputs === null || inputs.length === 0 || inputs.some((input) => input.length === 0)) return null
  const { input: _input, encoding_format: _format, ...rest } = body
  const form = typeof inputs[0] === 'string' ? 'text' : 'tokens'
  // From the text, for a member may have a name that is no well-formed Unicode.
  const canonical = canonicalizeText(JSON.stringify(rest), () => false)
  return hash('sha256', `${form}\n${canonical}`, 'base64url').slice(0, 22)
}
