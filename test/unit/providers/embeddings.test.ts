import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import {
  coalesceKey,
  mergeBodies,
  normalizeInputs,
  splitAnswer,
  splitByWeight,
} from '../../../providers/embeddings.ts'

test('every input shape of OpenAI becomes a list', () => {
  expect(normalizeInputs({ input: 'a' })).toEqual(['a'])
  expect(normalizeInputs({ input: ['a', 'b'] })).toEqual(['a', 'b'])
  expect(normalizeInputs({ input: [1, 2] })).toEqual([[1, 2]])
  expect(normalizeInputs({ input: [[1, 2], [3]] })).toEqual([[1, 2], [3]])
})

test.each([[undefined], [null], [5], [{}], [['a', 1]], [['a', [1]]], [[null]], [[[]]]])(
  'the input %o is odd: no list, no key',
  (input) => {
    const body = { model: 'm', input } as JsonObject
    expect(normalizeInputs(body)).toBeNull()
    expect(coalesceKey(body)).toBeNull()
  },
)

test('jobs share a key when they differ in input and encoding alone', () => {
  const key = coalesceKey({ model: 'm', dimensions: 64, input: 'a' })
  expect(key).toHaveLength(22)
  expect(coalesceKey({ input: ['b', 'c'], encoding_format: 'base64', dimensions: 64, model: 'm' })).toBe(key)
  expect(coalesceKey({ model: 'm', dimensions: 65, input: 'a' })).not.toBe(key)
  expect(coalesceKey({ model: 'n', dimensions: 64, input: 'a' })).not.toBe(key)
  expect(coalesceKey({ model: 'm', dimensions: 64, user: 'u', input: 'a' })).not.toBe(key)
  expect(coalesceKey({ model: 'm', dimensions: 64, input: [1, 2] })).not.toBe(key)
})

test('an empty input travels alone, for it would fail the others', () => {
  expect(coalesceKey({ model: 'm', input: '' })).toBeNull()
  expect(coalesceKey({ model: 'm', input: ['a', ''] })).toBeNull()
  expect(coalesceKey({ model: 'm', input: [] })).toBeNull()
})

test('merged bodies hold the inputs in order and ask for base64', () => {
  const bodies = [
    { model: 'm', user: 'u', input: 'a', encoding_format: 'float' },
    { model: 'm', user: 'u', input: ['b', 'c'] },
  ]
  expect(mergeBodies(bodies)).toEqual({
    model: 'm',
    user: 'u',
    input: ['a', 'b', 'c'],
    encoding_format: 'base64',
  })
})

test('each body gets its own vectors, counted from 0, whatever the order of the answer', () => {
  const answer = {
    object: 'list',
    model: 'm',
    data: [2, 0, 1].map((index) => ({ object: 'embedding', index, embedding: `v${index}` })),
    usage: { prompt_tokens: 10, total_tokens: 10 },
  }
  expect(splitAnswer(answer, [1, 2], [1, 2])).toEqual([
    {
      object: 'list',
      model: 'm',
      data: [{ object: 'embedding', index: 0, embedding: 'v0' }],
      usage: { prompt_tokens: 3, total_tokens: 3 },
    },
    {
      object: 'list',
      model: 'm',
      data: [
        { object: 'embedding', index: 0, embedding: 'v1' },
        { object: 'embedding', index: 1, embedding: 'v2' },
      ],
      usage: { prompt_tokens: 7, total_tokens: 7 },
    },
  ])
})

test('shares are whole, sum exactly to the total and lie within one of their quota', () => {
  const weights = fc.array(fc.nat(300_000), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(fc.nat(10_000_000), weights, (total, given) => {
      const shares = splitByWeight(total, given)
      const sum = given.reduce((left, right) => left + right, 0)
      expect(shares.reduce((left, right) => left + right, 0)).toBe(total)
      shares.forEach((share, index) => {
        const quota = sum > 0 ? (total * given[index]!) / sum : total / given.length
        expect(Number.isInteger(share)).toBe(true)
        expect(Math.abs(share - quota)).toBeLessThanOrEqual(1)
      })
    }),
  )
})
