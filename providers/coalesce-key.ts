import { hash } from 'node:crypto'
import type { CallType } from '../lib/call-type.ts'
import { canonicalizeText } from '../lib/canonical-json.ts'
import type { JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { editMembers } from '../lib/json-text.ts'
import { coalesceKey } from './embeddings.ts'
import { listModerationTexts } from './moderation-request.ts'

/** Jobs of one lane with the same key may share a provider request. Null: this one travels alone. */
export function readCoalesceKey(type: CallType, body: JsonObject): string | null {
  if (type === 'embedding') return coalesceKey(body)
  return type === 'moderation' ? moderationKey(body) : null
}

/** They differ in `input` alone. An empty text would fail the others with it. */
function moderationKey(body: JsonObject): string | null {
  const texts = listModerationTexts(body)
  if (texts === null || texts.length === 0 || texts.includes('')) return null
  const rest = canonicalizeText(editMembers(sourceOf(body), { input: null }), () => false)
  return hash('sha256', `moderation\n${rest}`, 'base64url').slice(0, 22)
}
