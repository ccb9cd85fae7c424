import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { isCacheable } from '../../../providers/cacheable.ts'

const chat = (finish: string | null, message: JsonObject, members: JsonObject = {}) => ({
  choices: [{ index: 0, message, finish_reason: finish }],
  ...members,
})
const said = { role: 'assistant', content: 'Hello' }
const used = (completion_tokens: number) => ({ usage: { completion_tokens } })

test.each<[isWorth: boolean, title: string, answer: JsonObject, request: JsonObject]>([
  [true, 'an answer', chat('stop', said), {}],
  [true, 'a call of a tool', chat('tool_calls', { content: null, tool_calls: [{ id: 'c' }] }), {}],
  [true, 'parts', chat('stop', { content: [{ type: 'text', text: 'a' }] }), {}],
  [false, 'nothing', chat('stop', { content: '' }), {}],
  [false, 'blanks', chat('stop', { content: ' \n' }), {}],
  [false, 'null', chat('stop', { content: null }), {}],
  [false, 'thoughts alone', chat('stop', { content: '', reasoning_content: 'hm' }), {}],
  [false, 'thinking parts alone', chat('stop', { content: [{ type: 'thinking', thinking: [] }] }), {}],
  [false, 'filtered', chat('content_filter', said), {}],
  [false, 'Google’s filter', chat('SAFETY', said), {}],
  [false, 'no reason', chat(null, said), {}],
  [
    false,
    'one of two is empty',
    { choices: [...chat('stop', said).choices, ...chat('stop', {}).choices] },
    {},
  ],
  [false, 'cut by the provider', chat('length', said), {}],
  [true, 'cut by the client’s cap', chat('length', said, used(5)), { max_tokens: 5 }],
  [true, 'cut by the client’s cap, uncounted', chat('length', said), { max_completion_tokens: 5 }],
  [false, 'cut below the client’s cap', chat('length', said, used(3)), { max_tokens: 5 }],
])('%s: %s', (isWorth, _title, answer, request) => {
  expect(isCacheable('chat', request, answer)).toBe(isWorth)
})

test('a response is kept when it is completed and says something', () => {
  const message = { type: 'message', content: [{ type: 'output_text', text: 'a' }] }
  const keeps = (status: string, ...output: JsonObject[]) => isCacheable('response', {}, { status, output })
  expect(keeps('completed', message)).toBe(true)
  expect(keeps('completed', { type: 'function_call', arguments: '{}' })).toBe(true)
  expect(keeps('incomplete', message)).toBe(false)
  expect(keeps('completed')).toBe(false)
  expect(keeps('completed', { type: 'reasoning' })).toBe(false)
  expect(keeps('completed', { type: 'message', content: [{ type: 'output_text', text: '' }] })).toBe(false)
  expect(isCacheable('embedding', {}, { data: [] })).toBe(true)
})
