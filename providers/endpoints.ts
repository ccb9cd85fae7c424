import type { ProviderKind } from '../config/lanes.ts'
import type { CallType } from '../lib/call-type.ts'
import type { JsonObject } from '../lib/json.ts'

const MEDIA = ['image', 'image_edit', 'speech', 'transcription', 'translation'] as const

/** What providers of each kind have no endpoint for. A message goes as a chat where there is none. */
const MISSING: Record<ProviderKind, readonly CallType[]> = {
  openai: ['rerank'],
  'azure-openai': ['moderation', 'rerank'],
  anthropic: ['embedding', 'completion', 'moderation', 'rerank', ...MEDIA],
  // Its OpenAI-compatible endpoint has pictures of prompts, and no more (Gemini API, "OpenAI compatibility").
  gemini: [...(['completion', 'moderation', 'rerank'] as const), ...MEDIA.filter((type) => type !== 'image')],
  // Only the server knows what it has.
  'openai-compatible': [],
}

export function hasEndpoint(kind: ProviderKind, type: CallType): boolean {
  return !MISSING[kind].includes(type)
}

/** Calls whose answer is not written token by token: their output costs nothing by its length. */
export function isWithoutOutput(type: CallType): boolean {
  return type === 'embedding' || type === 'moderation' || type === 'rerank'
}

/** Calls whose answer is pictures. */
export function makesPictures(type: CallType): boolean {
  return type === 'image' || type === 'image_edit'
}

/** Calls whose input is sound. */
export function hearsSound(type: CallType): boolean {
  return type === 'transcription' || type === 'translation'
}

/** The pictures that a call asks for; 0 for calls of other types. */
export function countPictures(type: CallType, body: JsonObject): number {
  if (!makesPictures(type)) return 0
  return typeof body.n === 'number' && body.n >= 1 ? Math.floor(body.n) : 1
}
