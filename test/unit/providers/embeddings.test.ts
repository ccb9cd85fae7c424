import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { parseWithSource } from '../../../lib/json-source.ts'
import { coalesceKey } from '../../../providers/embeddings.ts'

test.each([[undefined], [null], [5], [{}], [['a', 1]], [['a', [1]]], [[null]], [[[]]]])(
  'the odd input %o travels alone',
  (input) => {
    expect(coalesceKey({ model: 'm', input } as JsonObject)).toBeNull()
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

test('an empty input travels alone, because it would fail the others', () => {
  expect(coalesceKey({ model: 'm', input: '' })).toBeNull()
  expect(coalesceKey({ model: 'm', input: ['a', ''] })).toBeNull()
  expect(coalesceKey({ model: 'm', input: [] })).toBeNull()
})

test('jobs share a key exactly when all members but input and encoding are equal', () => {
  // Few names and values, so that equal ones are as frequent as different ones.
  const members = fc.dictionary(
    fc.constantFrom('dimensions', 'user', 'input_type', 'truncate'),
    fc.constantFrom(1, '1', true, null, { a: 1 }, { a: 1, b: [2] }, [1, 2], [2, 1]),
    { maxKeys: 3 },
  )
  const job = fc.record({
    members,
    model: fc.constantFrom('sim/embed', 'alias'),
    texts: fc.constantFrom('one text', ['several', 'texts']),
    encoding: fc.constantFrom({}, { encoding_format: 'float' }, { encoding_format: 'base64' }),
  })
  const bodyOf = (one: typeof job extends fc.Arbitrary<infer T> ? T : never): JsonObject => ({
    ...one.members,
    model: one.model,
    input: one.texts,
    ...one.encoding,
  })
  fc.assert(
    fc.property(job, job, (left, right) => {
      const same = left.model === right.model && isDeepStrictEqual({ ...left.members }, { ...right.members })
      expect(coalesceKey(bodyOf(left)) === coalesceKey(bodyOf(right))).toBe(same)
    }),
    { numRuns: 2000 },
  )
})

test('bodies agree by their text, and in the form of their vectors where we do not convert it', () => {
  const keyOf = (members: string) => coalesceKey(parseWithSource(`{"model":"m",${members}}`))
  expect(keyOf('"input":"a","n":9223372036854775807')).toBe(keyOf('"n": 9223372036854775807, "input":["b"]'))
  expect(keyOf('"input":"a","n":9223372036854775807')).not.toBe(keyOf('"input":"a","n":9223372036854775806'))
  expect(keyOf('"input":"a","encoding_format":"float"')).toBe(keyOf('"input":"a"'))
  expect(keyOf('"input":"a","encoding_format":"int8"')).not.toBe(keyOf('"input":"a"'))
  const int8 = '"input":"a","output_dtype":"int8"'
  expect(keyOf(`${int8},"encoding_format":"base64"`)).not.toBe(keyOf(int8))
})
