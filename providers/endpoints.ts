import type { ProviderKind } from '../config/lanes.ts'
import type { CallType } from '../lib/call-type.ts'
import type { JsonObject } from '../lib/json.ts'

const MEDIA = ['image', 'image_edit', 'speech', 'transcription', 'translation'] as const

/** Endpoints that each kind of provider lacks. A message is sent as a chat where there is no Messages API. */
const MISSING: Record<ProviderKind, readonly CallType[]> = {
  openai: ['rerank'],
  'azure-openai': ['moderation', 'rerank'],
  anthropic: ['embedding', 'completion', 'moderation', 'rerank', ...MEDIA],
  // Gemini's OpenAI-compatible endpoint generates images from prompts, but cannot edit them (Gemini API, "OpenAI compatibility").
  gemini: [...(['completion', 'moderation', 'rerank'] as const), ...MEDIA.filter((type) => type !== 'image')],
  // Unknown: it depends on the server.
  'openai-compatible': [],
}

export function hasEndpoint(kind: ProviderKind, type: CallType): boolean {
  return !MISSING[kind].includes(type)
}

/** Call types whose answer has no generated tokens: their output costs nothing. */
export function isWithoutOutput(type: CallType): boolean {
  return type === 'embedding' || type === 'moderation' || type === 'rerank'
}

/** Call types whose answer is images. */
export function makesImages(type: CallType): boolean {
  return type === 'image' || type === 'image_edit'
}

/** Call types whose input is audio. */
export function takesAudio(type: CallType): boolean {
  return type === 'transcription' || type === 'translation'
}

/** Number of images that a call asks for; 0 for other types. */
export function countImages(type: CallType, body: JsonObject): number {
  if (!makesImages(type)) return 0
  return typeof body.n === 'number' && body.n >= 1 ? Math.floor(body.n) : 1
}
