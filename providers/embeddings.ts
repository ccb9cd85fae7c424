import { hash } from 'node:crypto'
import { canonicalizeText } from '../lib/canonical-json.ts'
import { asksForKnownForm, normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { editMembers } from '../lib/json-text.ts'

/**
 * Jobs of one lane with the same key may share a provider request: they differ in `input` alone (and in
 * `encoding_format` of `float` and `base64`, for upstream is asked for base64 then). Read from the text: numbers that only
 * look equal as doubles are not. Texts and token arrays do not mix in one request.
 * Null when the job must travel alone: an odd shape, or an empty input, which would fail the others with it.
 */
export function coalesceKey(body: JsonObject): string | null {
  const inputs = normalizeInputs(body)
  if (inputs === null || inputs.length === 0 || inputs.some((input) => input.length === 0)) return null
  const rest = editMembers(sourceOf(body), {
    input: null,
    ...(asksForKnownForm(body) ? { encoding_format: null } : {}),
  })
  const form = typeof inputs[0] === 'string' ? 'text' : 'tokens'
  const canonical = canonicalizeText(rest, () => false)
  return hash('sha256', `${form}\n${canonical}`, 'base64url').slice(0, 22)
}
