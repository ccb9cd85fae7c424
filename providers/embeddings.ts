import { hash } from 'node:crypto'
import { canonicalizeText } from '../lib/canonical-json.ts'
import { asksForKnownForm, normalizeInputs } from '../lib/embedding-input.ts'
import type { JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { editMembers } from '../lib/json-text.ts'

/**
 * Returns the coalesce key of an embedding job: jobs of one lane with the same key may share a provider request. They differ only in
 * `input` (and in `encoding_format` `float` or `base64`: upstream is always asked for base64). The key is made from the source text,
 * because numbers that are equal as doubles may differ in the text. Texts and token arrays are not mixed in one request. Null when the job
 * needs a request of its own: an unusual shape, or an empty input, which would make the others fail.
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
