import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodePayload, encodeResult } from '../../../jobs/payload.ts'
import { packVectors } from '../../../jobs/vector-payload.ts'
import type { JsonObject } from '../../../lib/json.ts'

const answerOf = (embeddings: unknown[]) =>
  ({
    object: 'list',
    model: 'm',
    data: embeddings.map((embedding, index) => ({ object: 'embedding', embedding, index })),
    usage: { prompt_tokens: 5, total_tokens: 5 },
  }) as JsonObject

test('an embeddings answer comes back to the character, and takes the bytes of its vectors', () => {
  const vector = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('base64'))
  fc.assert(
    fc.property(fc.array(vector, { minLength: 1, maxLength: 8 }), (vectors) => {
      const answer = answerOf(vectors)
      expect(packVectors(answer)).not.toBeNull()
      expect(JSON.stringify(decodePayload(Buffer.from(encodeResult(answer))))).toBe(JSON.stringify(answer))
    }),
  )
  const vectors = Array.from({ length: 10 }, (_, index) => Buffer.alloc(6144, index).toString('base64'))
  expect(encodeResult(answerOf(vectors)).length).toBeLessThan(10 * 6144 + 1024)
})

test.each([
  ['decimals', answerOf([[0.5, 1]])],
  ['base64 without its padding', answerOf(['AAAA', 'AAAAAA'])],
  ['the alphabet of URLs', answerOf(['_-8_'])],
  ['text that is no base64', answerOf(['not a vector!'])],
  ['no vectors', answerOf([])],
  ['an entry without a vector', { data: [{ index: 0 }] }],
  ['a list of models', { object: 'list', data: [{ id: 'm' }] }],
  ['a completion', { choices: [] }],
])('an answer without packed vectors is stored as text: %s', (_, answer) => {
  expect(packVectors(answer)).toBeNull()
  expect(decodePayload(Buffer.from(encodeResult(answer)))).toEqual(answer)
})
