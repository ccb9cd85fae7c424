import { expect, test } from 'vitest'
import { normalizeInputs } from '../../../lib/embedding-input.ts'
import type { JsonObject } from '../../../lib/json.ts'

test('every input shape of OpenAI becomes a list', () => {
  expect(normalizeInputs({ input: 'a' })).toEqual(['a'])
  expect(normalizeInputs({ input: ['a', 'b'] })).toEqual(['a', 'b'])
  expect(normalizeInputs({ input: [1, 2] })).toEqual([[1, 2]])
  expect(normalizeInputs({ input: [[1, 2], [3]] })).toEqual([[1, 2], [3]])
})

test.each([[undefined], [null], [5], [{}], [['a', 1]], [['a', [1]]], [[null]], [[[]]]])(
  'the input %o is no list',
  (input) => {
    expect(normalizeInputs({ model: 'm', input } as JsonObject)).toBeNull()
  },
)
