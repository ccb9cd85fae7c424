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

it('says of a value of another type nothing more than that', () => {
  const schema = z.strictObject({
    events: z
      .array(z.enum(['x']))
      .min(1)
      .max(3),
    count: z.int().min(5),
  })
  expect(message(schema, { events: 'secret', count: 'secret' })).toBe(
    'events: expected array, got string; count: expected number, got string',
  )
  expect(message(schema, { events: [], count: 1 })).toBe(
    'events: expected at least 1 entry; count: expected at least 5',
  )
  expect(message(schema, { events: ['x'], count: 5.5 })).toBe('count: expected integer, got number')
})

it('names every unknown member', () => {
  expect(message(z.strictObject({}), { one: 1, two: 2 })).toBe(
    'one: is not a member known here; two: is not a member known here',
  )
})

it('lists a few faults and counts the others', () => {
  expect(message(z.array(z.string()), [1, 2, 3, 4, 5, 6, 7])).toMatch(/^\[0\]: .*\[4\]: .*; and 2 more$/)
})

const budget = z.strictObject({ usd: z.number().min(0), per: z.enum(['day', 'month']) })
const budgets = z.union([z.strictObject({ budgets: z.array(budget).min(1).max(2) }), budget])
const one = { usd: 1, per: 'day' }

it.each([
  [budgets, { budgets: [{ ...one, usd: 'secret' }] }, 'budgets[0].usd: expected number, got string'],
  [budgets, { budgets: [{ ...one, per: 'secret' }] }, 'budgets[0].per: expected "day" or "month"'],
  [budgets, { budgets: [] }, 'budgets: expected at least 1 entry'],
  [budgets, { budgets: 'secret' }, 'budgets: expected array, got string'],
  [budgets, { budgets: [one, one, one] }, 'budgets: expected at most 2 entries'],
  [budgets, { usd: -1, per: 'day' }, 'usd: expected at least 0'],
  [budgets, { usd: 1 }, 'per: expected "day" or "month"; it is missing'],
  [budgets, {}, 'budgets: is required (expected array)'],
  [budgets, null, 'body: expected object, got null'],
  [
    z.object({ a: z.union([z.string(), z.array(z.string())]) }),
    { a: 7 },
    'a: expected string or array, got number',
  ],
  [
    z.object({ a: z.union([z.string(), z.array(z.string())]) }),
    {},
    'a: is required (expected string or array)',
  ],
  [
    z.object({ a: z.union([z.string(), z.array(z.string())]) }),
    { a: ['x', 7] },
    'a[1]: expected string, got number',
  ],
  [
    z.object({ a: z.union([z.string().regex(/x/), z.number()], { error: 'expected a day' }) }),
    { a: true },
    'a: expected a day',
  ],
  [z.object({ a: z.union([z.literal('off'), budget]) }), { a: 'secret' }, 'a: expected "off" or object'],
  [z.object({ a: z.union([z.literal('off'), budget]) }), {}, 'a: expected "off" or object; it is missing'],
  [z.union([z.array(z.string()).min(1), z.number()]), [], 'body: expected at least 1 entry'],
  [
    z.union([z.union([z.string(), z.number()]), z.array(z.union([z.string(), budget]))]),
    true,
    'body: expected string, number or array, got boolean',
  ],
  [
    z.union([z.string(), z.array(z.union([z.string(), budget]))]),
    ['x', { usd: 1, per: 'day', secret: 1 }],
    '[1].secret: is not a member known here',
  ],
] as [z.ZodType, unknown, string][])(
  'says what is wrong with a value that may have several shapes: %#',
  (schema, value, text) => {
    expect(message(schema, value)).toBe(text)
  },
)
