import Anthropic from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { toChatCompletion } from '../../../providers/anthropic-answer.ts'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { chatBody, collectChunks, NOW, openBench, replay, replayStream, TOOL } from './fixture.ts'
import { KINDS } from './kinds.ts'

const kind = KINDS.find((one) => one.kind === 'anthropic')!
const streamed = chatBody({ stream: true })

function bodyOf(answer: ProviderAnswer): JsonObject {
  if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`)
  return answer.body
}

test('thinking is shown as reasoning_content, and kept whole to be brought back', async () => {
  const { upstream, ask } = await openBench(kind)
  replay(upstream, 'anthropic', 'thinking.json')
  const body = bodyOf(await ask())
  const [choice] = body.choices as { message: JsonObject }[]
  expect(choice!.message).toEqual({
    role: 'assistant',
    content: 'The sky is blue.',
    refusal: null,
    reasoning_content: 'Rayleigh scattering.',
    thinking_blocks: [
      { type: 'thinking', thinking: 'Rayleigh scattering.', signature: 'EqQBCgIYAhIM1gbcDa9GJwZA2b3h' },
      { type: 'redacted_thinking', data: 'EmwKAhgBEgy3va3pzix/LafPsn4=' },
    ],
  })
  replay(upstream, 'anthropic', 'chat.json')
  const messages = [...(chatBody().messages as JsonObject[]), choice!.message]
  await ask({ body: chatBody({ messages: [...messages, { role: 'user', content: 'Why?' }] }) })
  expect(upstream.calls[1]?.body.messages).toMatchObject([
    { role: 'user' },
    { role: 'assistant', content: [{ type: 'thinking' }, { type: 'redacted_thinking' }, { type: 'text' }] },
    { role: 'user', content: 'Why?' },
  ])
})

test('streamed thinking adds up to the same answer', async () => {
  const { upstream, ask } = await openBench(kind)
  const { chunks, onDelta } = collectChunks()
  replay(upstream, 'anthropic', 'thinking.json')
  const whole = bodyOf(await ask())
  replay(upstream, 'anthropic', 'stream-thinking.sse')
  const { choices, usage, ...head } = bodyOf(await ask({ body: streamed, onDelta }))
  expect({ ...head, choices, usage }).toEqual(whole)
  const reasoning = chunks.flatMap((chunk) => chunk.choices as { delta: JsonObject }[])
  expect(reasoning.map(({ delta }) => delta.reasoning_content ?? '').join('')).toBe('Rayleigh scattering.')
})

test('the prompt counts with what the cache read and wrote, and the cache’s part is shown', async () => {
  const { upstream, ask } = await openBench(kind)
  for (const file of ['thinking.json', 'stream-thinking.sse']) {
    replay(upstream, 'anthropic', file)
    const answer = await ask({ body: file.endsWith('.sse') ? streamed : chatBody() })
    expect(answer).toMatchObject({
      usage: { input_tokens: 1120, output_tokens: 300, total_tokens: 1420 },
      body: {
        usage: {
          prompt_tokens: 1120,
          completion_tokens: 300,
          total_tokens: 1420,
          prompt_tokens_details: { cached_tokens: 1000 },
          completion_tokens_details: { reasoning_tokens: 250 },
          cache_creation_input_tokens: 100,
          cache_creation: { ephemeral_5m_input_tokens: 100 },
        },
      },
    })
  }
})

test('a refusal ends by the content filter, with its explanation', async () => {
  const { upstream, ask } = await openBench(kind)
  replay(upstream, 'anthropic', 'refusal.json')
  expect(bodyOf(await ask()).choices).toMatchObject([
    {
      finish_reason: 'content_filter',
      stop_reason: 'refusal',
      message: { content: null, refusal: 'This request could enable harm.' },
    },
  ])
})

test.each([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['pause_turn', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['refusal', 'content_filter'],
  ['of_tomorrow', 'stop'],
])('the stop reason %s is the finish reason %s', (stop_reason, finish_reason) => {
  const answer = { content: [], stop_reason, stop_sequence: stop_reason === 'stop_sequence' ? 'END' : null }
  expect(toChatCompletion(answer, 0)?.choices).toMatchObject([
    { finish_reason, stop_reason, ...(stop_reason === 'stop_sequence' ? { stop_sequence: 'END' } : {}) },
  ])
})

test('a tool without parameters is called with an empty object, streamed or not', async () => {
  const { upstream, ask } = await openBench(kind)
  const use = { type: 'tool_use', id: 'toolu_1', name: 'now', input: {} }
  const events = [
    { type: 'message_start', message: { id: 'm', model: 'c', usage: { input_tokens: 1, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: use },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 2 } },
    { type: 'message_stop' },
  ]
  replayStream(upstream, events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
  const body = bodyOf(await ask({ body: { ...streamed, tools: [TOOL] } }))
  expect(body.choices).toMatchObject([{ message: { tool_calls: [{ function: { arguments: '{}' } }] } }])
})

test('what Anthropic does not support fails before it is sent, naming the member', async () => {
  const { upstream, ask } = await openBench(kind)
  expect(await ask({ body: chatBody({ n: 2 }) })).toEqual({
    ok: false,
    class: 'final',
    code: 'invalid_request',
    message: 'body.n: anthropic has no counterpart for it',
    status: null,
    ambiguous: false,
    input: true,
    feedback: {},
    providerError: {
      message: 'body.n: anthropic has no counterpart for it',
      type: 'invalid_request_error',
      param: 'n',
      code: 'invalid_request',
    },
  })
  expect(upstream.calls).toHaveLength(0)
})

test.each(['stream.sse', 'stream-tool-call.sse', 'stream-thinking.sse'])(
  'Anthropic’s own package reads %s as we do',
  async (file) => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, 'anthropic', file)
    const baseURL = new URL(upstream.url).origin
    const client = new Anthropic({ apiKey: 'k', baseURL, maxRetries: 0, logLevel: 'off' })
    const params = { model: 'm', max_tokens: 10, messages: [{ role: 'user' as const, content: 'x' }] }
    const message = JSON.parse(JSON.stringify(await client.messages.stream(params).finalMessage()))
    const theirs = toChatCompletion(message, Math.floor(NOW / 1000))
    const ours = bodyOf(await ask({ body: streamed }))
    // The model decides the spacing of a call's arguments.
    expect(JSON.parse(JSON.stringify(ours).replace(': \\"Oslo', ':\\"Oslo'))).toEqual(theirs)
  },
)
