import type { ProviderKind } from '../config/lanes.ts'
import type { CallType } from './provider.ts'

/** What providers of each kind have no endpoint for. A message goes as a chat where there is none. */
const MISSING: Record<ProviderKind, readonly CallType[]> = {
  openai: ['rerank'],
  'azure-openai': ['moderation', 'rerank'],
  anthropic: ['embedding', 'completion', 'moderation', 'rerank', 'image', 'speech'],
  // Its OpenAI-compatible endpoint has pictures, and no speech (Gemini API, "OpenAI compatibility").
  gemini: ['completion', 'moderation', 'rerank', 'speech'],
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
