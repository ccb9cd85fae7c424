import fc from 'fast-check'
import { expect, it } from 'vitest'
import { mayCall } from '../../../config/model-access.ts'

it.each([
  ['openai/*', 'openai/gpt-5-mini', true],
  ['openai/*', 'openai/a/b', true],
  ['openai/*', 'openai', false],
  ['openai/*', 'xopenai/a', false],
  ['*', 'anything', true],
  ['*mini', 'openai/gpt-5-mini', true],
  ['*mini', 'openai/gpt-5-minis', false],
  ['a*b*c', 'a-b-c', true],
  ['a*b*c', 'a-c-b', false],
  ['ab*ba', 'aba', false],
  ['a.c', 'abc', false],
])('%s lets %s through: %s', (pattern, name, isLet) => {
  expect(mayCall([[pattern]], name)).toBe(isLet)
})

it('lets through the same names as a regular expression of the pattern', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '/'), maxLength: 8 })
  fc.assert(
    fc.property(text, text, (pattern, name) => {
      const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`)
      expect(mayCall([[pattern]], name)).toBe(expression.test(name))
    }),
  )
})

it('asks every list', () => {
  expect(mayCall([['a/*'], ['a/b']], 'a/b')).toBe(true)
  expect(mayCall([['a/*'], ['a/b']], 'a/c')).toBe(false)
  expect(mayCall(undefined, 'a/c')).toBe(true)
})
