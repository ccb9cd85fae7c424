import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { createChatAssembler } from '../../../providers/assemble.ts'

function assemble(chunks: JsonObject[]): JsonObject | null {
  const assembler = createChatAssembler()
  for (const chunk of chunks) assembler.add(chunk)
  return assembler.build()
}
const chunk = (delta: JsonObject, members: JsonObject = {}, top: JsonObject = {}): JsonObject => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 5,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: null, ...members }],
  ...top,
})

test('text is joined, and the last usage and finish reason count', () => {
  const body = assemble([
    chunk({ role: 'assistant', content: '' }, {}, { usage: null, system_fingerprint: 'fp' }),
    chunk({ content: 'Hel' }),
    chunk({ content: 'lo' }),
    chunk({}, { finish_reason: 'stop' }),
    { id: 'chatcmpl-1', choices: [], usage: { total_tokens: 3 } },
  ])
  expect(body).toEqual({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 5,
    model: 'm',
    system_fingerprint: 'fp',
    usage: { total_tokens: 3 },
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
  })
})

test('tool calls are matched by index, their arguments are joined and the index is removed', () => {
  const call = (index: number, members: JsonObject) => chunk({ tool_calls: [{ index, ...members }] })
  const body = assemble([
    chunk({ role: 'assistant', content: null }),
    call(0, { id: 'call_a', type: 'function', function: { name: 'find', arguments: '' } }),
    call(0, { function: { arguments: '{"a"' } }),
    call(1, { id: 'call_b', type: 'function', function: { name: 'sum', arguments: '{' } }),
    call(0, { function: { arguments: ':1}' } }),
    call(1, { function: { arguments: '}' } }),
    chunk({}, { finish_reason: 'tool_calls' }),
  ])
  expect(body).toMatchObject({
    choices: [
      {
        message: {
          content: null,
          tool_calls: [
            { id: 'call_a', type: 'function', function: { name: 'find', arguments: '{"a":1}' } },
            { id: 'call_b', type: 'function', function: { name: 'sum', arguments: '{}' } },
          ],
        },
        finish_reason: 'tool_calls',
      },
    ],
  })
  expect(JSON.stringify(body)).not.toContain('"index":1')
})

test('choices, logprobs, refusals, old function calls and unknown text members are merged', () => {
  const body = assemble([
    chunk(
      { role: 'assistant', refusal: 'I ', reasoning_content: 'let ' },
      { logprobs: { content: [{ token: 'a' }] } },
    ),
    chunk(
      { refusal: 'cannot', reasoning_content: 'me' },
      { logprobs: { content: [{ token: 'b' }], refusal: null } },
    ),
    chunk({ function_call: { name: 'f', arguments: '{' } }),
    chunk({ function_call: { arguments: '}' } }, { finish_reason: 'function_call' }),
    { choices: [{ index: 1, delta: { content: 'second' }, finish_reason: 'stop' }] },
  ])
  expect(body).toMatchObject({
    choices: [
      {
        index: 0,
        message: {
          refusal: 'I cannot',
          reasoning_content: 'let me',
          function_call: { name: 'f', arguments: '{}' },
        },
        logprobs: { content: [{ token: 'a' }, { token: 'b' }] },
        finish_reason: 'function_call',
      },
      { index: 1, message: { role: 'assistant', content: 'second' }, finish_reason: 'stop' },
    ],
  })
})

test('a chat is finished when every choice has its reason', () => {
  const assembler = createChatAssembler()
  expect(assembler.isFinished()).toBe(false)
  expect(assembler.build()).toBeNull()
  assembler.add(chunk({ content: 'a' }, { finish_reason: 'stop' }))
  expect(assembler.isFinished()).toBe(true)
  assembler.add({ choices: [{ index: 1, delta: { content: 'b' }, finish_reason: null }] })
  expect(assembler.isFinished()).toBe(false)
})

test('hostile member names change no prototype', () => {
  const hostile = JSON.parse(
    '{"__proto__":{"polluted":1},"choices":[{"index":0,"delta":{"__proto__":{"polluted":1}}}]}',
  )
  const body = assemble([hostile])
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect((body as Record<string, unknown>).polluted).toBeUndefined()
})
