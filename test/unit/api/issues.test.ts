import { expect, it } from 'vitest'
import { z } from 'zod'
import { ApiError } from '../../../api/errors.ts'
import { formatPath, parseRequest } from '../../../api/issues.ts'

function message(schema: z.ZodType, value: unknown): string {
  try {
    parseRequest(schema, value, 'body')
  } catch (error) {
    if (error instanceof ApiError) return error.message
    throw error
  }
  throw new Error('it was taken')
}

it('writes paths in a readable form', () => {
  expect(formatPath(['body', 'messages', 0, 'role'])).toBe('body.messages[0].role')
  expect(formatPath([0, 'a b', 'c'])).toBe('[0]["a b"].c')
  expect(formatPath([])).toBe('')
})

it('says what is missing, what was expected and what came, but never the value', () => {
  const schema = z.strictObject({ a: z.string(), b: z.number(), c: z.enum(['x', 'y']).optional() })
  expect(message(schema, { a: 'a' })).toBe('b: is required (expected number)')
  expect(message(schema, { a: ['secret'], b: 1 })).toBe('a: expected string, got array')
  expect(message(schema, { a: 'a', b: 1, c: 'secret' })).toBe('c: expected "x" or "y"')
  expect(message(schema, 'secret')).toBe('body: expected object, got string')
})

it('names every unknown member', () => {
  expect(message(z.strictObject({}), { one: 1, two: 2 })).toBe(
    'one: is not a member known here; two: is not a member known here',
  )
})

it('lists a few faults and counts the others', () => {
  expect(message(z.array(z.string()), [1, 2, 3, 4, 5, 6, 7])).toMatch(/^\[0\]: .*\[4\]: .*; and 2 more$/)
})
