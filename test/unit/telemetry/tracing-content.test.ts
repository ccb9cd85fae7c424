import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { describeContent } from '../../../telemetry/tracing-content.ts'

const success = (body: JsonObject): ProviderAnswer => ({
  ok: true,
  status: 200,
  body,
  usage: null,
  feedback: {},
})

const read = (body: JsonObject, answer: JsonObject) => {
  const attributes = describeContent(body, success(answer))
  return Object.fromEntries(
    Object.entries(attributes).flatMap(([name, text]) =>
      text === undefined ? [] : [[name.replace('gen_ai.', ''), JSON.parse(String(text))]],
    ),
  )
}

test('a chat is messages of parts, tools and all', () => {
  const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"at":1}' } }
  expect(
    read(
      {
        messages: [
          { role: 'system', content: 'Be brief.' },
          {
            role: 'user',
            content: [
              { type: 'text', text: 'What is it?' },
              { type: 'image_url', image_url: { url: 'data:x' } },
            ],
          },
          { role: 'assistant', content: null, tool_calls: [call] },
          { role: 'tool', tool_call_id: 'call_1', content: 'a cat' },
        ],
      },
      { choices: [{ index: 0, message: { role: 'assistant', content: 'A cat.' }, finish_reason: 'stop' }] },
    ),
  ).toEqual({
    'input.messages': [
      { role: 'system', parts: [{ type: 'text', content: 'Be brief.' }] },
      { role: 'user', parts: [{ type: 'text', content: 'What is it?' }, { type: 'image_url' }] },
      {
        role: 'assistant',
        parts: [{ type: 'tool_call', id: 'call_1', name: 'look', arguments: '{"at":1}' }],
      },
      { role: 'tool', parts: [{ type: 'tool_call_response', id: 'call_1', response: 'a cat' }] },
    ],
    'output.messages': [
      { role: 'assistant', parts: [{ type: 'text', content: 'A cat.' }], finish_reason: 'stop' },
    ],
  })
})

test('a response is its items', () => {
  expect(
    read(
      { instructions: 'Be brief.', input: 'Hello' },
      {
        output: [
          { type: 'function_call', call_id: 'c', name: 'look', arguments: '{}' },
          { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Hi.' }] },
        ],
      },
    ),
  ).toEqual({
    system_instructions: [{ type: 'text', content: 'Be brief.' }],
    'input.messages': [{ role: 'user', parts: [{ type: 'text', content: 'Hello' }] }],
    'output.messages': [
      { role: 'assistant', parts: [{ type: 'tool_call', id: 'c', name: 'look', arguments: '{}' }] },
      { role: 'assistant', parts: [{ type: 'text', content: 'Hi.' }] },
    ],
  })
})

test('other shapes are left out', () => {
  expect(
    read({ messages: [null, 'x', { role: 1, content: 2 }] }, { choices: [null, { message: 3 }] }),
  ).toEqual({
    'input.messages': [{ role: 'user', parts: [] }],
    'output.messages': [],
  })
})
