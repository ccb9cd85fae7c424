import { expect, test } from 'vitest'
import type { ProviderKind } from '../../../config/lanes.ts'
import { CallType } from '../../../lib/call-type.ts'
import { estimateCost, readOutputBound } from '../../../providers/accounting.ts'
import { judgeFit } from '../../../providers/fit.ts'

const bodies: Record<CallType, object> = {
  chat: { messages: [{ role: 'user', content: 'hi' }] },
  response: { input: 'hi' },
  message: { max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] },
  embedding: { input: 'hi' },
  completion: { prompt: 'hi' },
  moderation: { input: 'hi' },
  rerank: { query: 'hi', documents: ['ho'] },
  image: { prompt: 'hi' },
  image_edit: { prompt: 'hi', image: 'file-1' },
  speech: { input: 'hi' },
  transcription: { file: 'file-1' },
  translation: { file: 'file-1' },
}

const media = ['image', 'image_edit', 'speech', 'transcription', 'translation'] as const

test.each<[ProviderKind, CallType[]]>([
  ['openai', ['rerank']],
  ['azure-openai', ['moderation', 'rerank']],
  ['anthropic', ['embedding', 'completion', 'moderation', 'rerank', ...media]],
  ['gemini', ['completion', 'moderation', 'rerank', ...media.slice(1)]],
  ['openai-compatible', []],
])('a provider of kind %s serves every type but %j', (kind, missing) => {
  const lane = { kind, model: 'm', onUnsupported: 'refuse' as const }
  const refused = Object.values(CallType).filter((type) => {
    const fit = judgeFit(lane, type, { model: 'm', ...bodies[type] } as never)
    if (fit.kind === 'unsupported_type') expect(fit.message).toContain(`jobs of type ${type}`)
    return fit.kind !== 'serves'
  })
  expect(refused).toEqual(missing)
})

test('the cap that bounds an answer is that of its API', () => {
  const output = (type: CallType, body: object) =>
    estimateCost({ kind: 'openai', type, body: { ...bodies[type], ...body } as never }).outputTokens
  expect(output('message', { max_tokens: 300 })).toBe(300)
  expect(output('completion', { max_tokens: 20, n: 3 })).toBe(60)
  expect(output('completion', {})).toBe(16)
  expect(output('rerank', {})).toBe(0)
  expect(readOutputBound('moderation', { input: 'hi' })).toEqual({ outputCap: 0, choices: 1 })
  expect(readOutputBound('completion', { prompt: 'hi', n: 2, best_of: 5 }).choices).toBe(5)
})
