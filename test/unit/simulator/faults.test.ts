import { expect, test } from 'vitest'
import { createFaultBook, parseFault } from '../../../simulator/faults.ts'
import type { FaultRule } from '../../../simulator/options.ts'
import { createRandom } from '../../../simulator/random.ts'

const ask = (prompt: string, path = '/v1/chat/completions') => ({
  path,
  text: JSON.stringify(prompt),
  header: undefined,
  key: null,
  prompts: () => [prompt],
})
const createBook = (rules: FaultRule[] = []) => createFaultBook(rules, createRandom(1))

test('a marker strikes each prompt as often as it says, then lets it pass', () => {
  const book = createBook()
  const kinds = (prompt: string) => book.choose(ask(prompt))?.kind
  expect(kinds('a [[fault:500:times=2]]')).toBe('500')
  expect(kinds('a [[fault:500:times=2]]')).toBe('500')
  expect(kinds('a [[fault:500:times=2]]')).toBeUndefined()
  expect(kinds('b [[fault:500:times=2]]')).toBe('500')
  expect(kinds('c [[fault:hang]]')).toBe('hang')
  expect(kinds('c [[fault:hang]]')).toBe('hang')
  expect(kinds('d [[fault:nonsense]]')).toBeUndefined()
})

test('rules strike by path, by content, by count and by rate', () => {
  const book = createBook([
    { kind: '503', path: 'embeddings', times: 1 },
    { kind: '401', match: 'secret' },
  ])
  expect(book.choose(ask('x'))).toBeNull()
  expect(book.choose(ask('x', '/v1/embeddings'))?.kind).toBe('503')
  expect(book.choose(ask('x', '/v1/embeddings'))).toBeNull()
  expect(book.choose(ask('a secret'))?.kind).toBe('401')
  const half = createBook([{ kind: '500', rate: 0.5 }])
  const struck = Array.from({ length: 1000 }, () => half.choose(ask('x'))).filter(Boolean).length
  expect(struck).toBeGreaterThan(430)
  expect(struck).toBeLessThan(570)
})

test('rules given at runtime come first and go with a reset', () => {
  const book = createBook([{ kind: '500' }])
  book.setRules([{ kind: '429', retry_after: 250 }])
  expect(book.choose(ask('x'))).toEqual({ kind: '429', retryAfterMs: 250, ms: 0 })
  book.reset()
  expect(book.choose(ask('x'))?.kind).toBe('500')
})

test('faults are read with their settings', () => {
  expect(parseFault('429:times=2:retry_after=500')).toEqual({ kind: '429', times: 2, retry_after: 500 })
  expect(parseFault('slow:ms=20:odd=1')).toEqual({ kind: 'slow', ms: 20 })
  expect(parseFault('418')).toBeNull()
})
