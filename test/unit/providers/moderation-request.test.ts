import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { findAnswerFault } from '../../../providers/answer.ts'
import { readCoalesceKey } from '../../../providers/coalesce-key.ts'
import { joinModerations, splitModerations } from '../../../providers/moderation-request.ts'

const key = (body: JsonObject) => readCoalesceKey('moderation', { model: 'a/b', ...body })

describe('moderations that share a request', () => {
  test('have each their own results and their share of the usage, for any request', () => {
    const text = fc.string({ minLength: 1 })
    const input = fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 5 }))
    fc.assert(
      fc.property(fc.array(input, { minLength: 2, maxLength: 8 }), fc.nat(1000), (inputs, paid) => {
        const bodies = inputs.map((one): JsonObject => ({ model: 'm', input: one }))
        const texts = joinModerations(bodies).input as string[]
        expect(texts).toEqual(inputs.flat())
        const results = texts.map((about) => ({ flagged: false, about }))
        const usage = { prompt_tokens: paid, total_tokens: paid, kind: 'text' }
        const shares = splitModerations({ id: 'modr-1', model: 'm', results, usage }, bodies)
        expect(shares.map((share) => (share.results as JsonObject[]).map(({ about }) => about))).toEqual(
          inputs.map((one) => [one].flat()),
        )
        const sum = shares.reduce(
          (total, share) => total + Number((share.usage as JsonObject).total_tokens),
          0,
        )
        expect(sum).toBe(paid)
        for (const share of shares) expect(share).toMatchObject({ id: 'modr-1', model: 'm' })
      }),
    )
  })

  test('differ in their texts alone', () => {
    expect(key({ input: 'one' })).toBe(key({ input: ['two', 'three'] }))
    expect(key({ input: 'one' })).not.toBe(key({ input: 'one', user: 'x' }))
    expect(key({ input: 'one' })).not.toBe(readCoalesceKey('embedding', { model: 'a/b', input: 'one' }))
  })

  test.each([
    ['pictures', [{ type: 'image_url', image_url: { url: 'https://a.example/' } }]],
    ['texts that are parts of one', [{ type: 'text', text: 'one' }]],
    ['an empty text', ['one', '']],
    ['no text', []],
    ['a number', 5],
  ])('are not those with %s', (_, input) => {
    expect(key({ input: input as never })).toBeNull()
  })

  test('need a result for each text', () => {
    const answer = (results: number) => ({
      results: Array.from({ length: results }, () => ({ flagged: false })),
    })
    expect(findAnswerFault('moderation', answer(1), 2)).toBe('the answer has 1 results for 2 inputs')
    for (const [results, inputs] of [
      [2, 2],
      [3, 1],
      [1, null],
    ] as const)
      expect(findAnswerFault('moderation', answer(results), inputs)).toBeNull()
  })
})
