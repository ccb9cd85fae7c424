import { expect, test } from 'vitest'
import { parseWithSource } from '../../../lib/json-source.ts'
import { type BatchLines, createBatchLines } from '../../../providers/batch-lines.ts'
import type { ProviderSettings } from '../../../providers/registry.ts'

const openai = lines('openai')
const anthropic = lines('anthropic')

function lines(kind: ProviderSettings['kind']): BatchLines {
  return createBatchLines(
    'p',
    { kind, base_url: 'http://127.0.0.1:1', api_key: 'a-secret-key', timeout: 1000 },
    () => 1e12,
  )
}

const chat = (text: string) => ({ type: 'chat' as const, model: 'm', body: parseWithSource(text) })

test('a line is the text of a call, without members that ask for another way', async () => {
  const request = chat(
    '{"model": "p/m", "seed": 1.0, "stream": true, "service_tier":"flex", "messages": [ ]}',
  )
  const written = await openai.write(request)
  expect(written).toEqual({ text: expect.stringContaining('"seed": 1.0') })
  expect(JSON.parse((written as { text: string }).text)).toEqual({ model: 'm', seed: 1, messages: [] })
})

test('an answer is read like that of a call', async () => {
  const request = chat('{"model":"p/m","messages":[{"role":"user","content":"x"}]}')
  const message = { role: 'assistant', content: 'hello' }
  const body = {
    object: 'chat.completion',
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  }
  expect(await openai.read(request, 200, JSON.stringify(body))).toMatchObject({
    ok: true,
    body: { choices: [{ message }] },
    usage: { input_tokens: 3, output_tokens: 2 },
  })
  const refused = JSON.stringify({
    error: { message: 'bad a-secret-key', type: 'invalid_request_error', code: 'x' },
  })
  const final = await openai.read(request, 400, refused)
  expect(final).toMatchObject({ ok: false, class: 'final', status: 400, code: 'x' })
  expect(JSON.stringify(final)).not.toContain('a-secret-key')
  expect(await openai.read(request, 429, '{}')).toMatchObject({ class: 'throttled' })
  expect(await openai.read(request, 500, '{}')).toMatchObject({ class: 'retryable' })
  expect(await openai.read(request, 200, '{"odd":1}')).toMatchObject({ ok: false, code: 'invalid_answer' })
})

test("Anthropic's lines are messages, and their answers chats and responses", async () => {
  const request = chat('{"model":"p/m","stream":true,"messages":[{"role":"user","content":"x"}]}')
  const written = (await anthropic.write(request)) as { text: string }
  const sent = JSON.parse(written.text)
  expect(sent).toMatchObject({ model: 'm', messages: [{ role: 'user' }], max_tokens: 4096 })
  expect(sent).not.toHaveProperty('stream')
  const message = JSON.stringify({
    ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'm', stop_reason: 'end_turn' },
    content: [{ type: 'text', text: 'hello' }],
    usage: { input_tokens: 3, output_tokens: 2 },
  })
  expect(await anthropic.read(request, 200, message)).toMatchObject({
    ok: true,
    body: { choices: [{ message: { content: 'hello' } }] },
  })
  const response = { type: 'response' as const, model: 'm', body: { model: 'p/m', input: 'x' } }
  expect(await anthropic.write(response)).toHaveProperty('text')
  expect(await anthropic.read(response, 200, message)).toMatchObject({
    ok: true,
    body: { object: 'response' },
  })
  const embedding = { type: 'embedding' as const, model: 'm', body: { model: 'p/m', input: 'x' } }
  expect(await anthropic.write(embedding)).toMatchObject({ ok: false, code: 'unsupported_type' })
})
