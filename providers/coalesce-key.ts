import { hash } from 'node:crypto'
import type { CallType } from '../lib/call-type.ts'
import { canonicalizeText } from '../lib/canonical-json.ts'
import type { JsonObject } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { editMembers } from '../lib/json-text.ts'
import { coalesceKey } from './embeddings.ts'
import { listModerationTexts } from './moderation-request.ts'

/** Jobs of one lane with the same key may share a provider request. Null: this job needs a request of its own. */
export function readCoalesceKey(type: CallType, body: JsonObject): string | null {
  if (type === 'embedding') return coalesceKey(body)
  return type === 'moderation' ? moderationKey(body) : null
}

/** Moderations with the same key differ only in `input`. One with an empty text gets no key: it would make the others fail. */
function moderationKey(body: JsonObject): string | null {
  const texts = listModerationTexts(body)
  if (texts === null || texts.length === 0 || texts.includes('')) return null
  const rest = canonicalizeText(editMembers(sourceOf(body), { input: null }), () => false)
  return hash('sha256', `moderation\n${rest}`, 'base64url').slice(0, 22)
}
