import { describe, expect, test } from 'vitest'
import { chatBody, openBench, replay, TOOL } from './fixture.ts'
import { API_KEY, KINDS } from './kinds.ts'

describe.each(KINDS)('a provider of kind $kind', (kind) => {
  test('answers a chat as a chat completion, with usage and feedback', async () => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, kind.kind, 'chat.json')
    const answer = await ask()
    expect(answer).toMatchObject({
      ok: true,
      status: 200,
      usage: { input_tokens: 12, output_tokens: 5, total_tokens: 17 },
      feedback: kind.feedback,
      body: {
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', content: 'The sky is blue.' } }],
        usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 },
      },
    })
    expect(answer.ok && answer.body.choices).toMatchObject([{ finish_reason: 'stop' }])
  })

  test('is called once, at its endpoint, with its key and none from the environment', async () => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, kind.kind, 'chat.json')
    const before = { ...process.env }
    Object.assign(process.env, {
      ANTHROPIC_CUSTOM_HEADERS: 'x-leak: 1',
      ANTHROPIC_AUTH_TOKEN: 'leak',
      ANTHROPIC_BASE_URL: 'http://127.0.0.1:1',
      OPENAI_CUSTOM_HEADERS: 'x-leak: 1',
      OPENAI_ORG_ID: 'leak',
    })
    await ask()
    process.env = before
    expect(upstream.calls).toHaveLength(1)
    const [call] = upstream.calls
    expect(call?.path).toBe(kind.chatUrl)
    const { accept, connection, host, 'content-length': _length, ...own } = call!.headers
    expect(own).toEqual({
      'content-type': 'application/json',
      'user-agent': 'sluice',
      ...kind.authorization,
    })
    expect(call?.body.model).toBe(kind.model)
    expect(JSON.stringify(call?.body)).not.toContain(API_KEY)
  })

  test('passes on tools, and their calls', async () => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, kind.kind, 'tool-call.json')
    const answer = await ask({ body: chatBody({ tools: [TOOL], tool_choice: 'required' }) })
    expect(answer).toMatchObject({
      ok: true,
      body: {
        choices: [
          {
            finish_reason: 'tool_calls',
            message: {
              content: null,
              tool_calls: [{ id: kind.callId, type: 'function', function: { name: 'get_weather' } }],
            },
          },
        ],
      },
    })
    if (!answer.ok) throw new Error(answer.message)
    const [choice] = answer.body.choices as { message: { tool_calls: unknown[] } }[]
    const [called] = choice!.message.tool_calls as { function: { arguments: string } }[]
    expect(JSON.parse(called!.function.arguments)).toEqual({ city: 'Oslo' })
    const expected =
      kind.kind === 'anthropic'
        ? {
            tools: [
              {
                name: 'get_weather',
                description: TOOL.function.description,
                input_schema: TOOL.function.parameters,
              },
            ],
            tool_choice: { type: 'any' },
          }
        : { tools: [TOOL], tool_choice: 'required' }
    expect(upstream.calls[0]?.body).toMatchObject(expected)
  })

  test('serves embeddings, or says that it does not, before any call', async () => {
    const { upstream, ask } = await openBench(kind)
    const body = { model: 'alias/name', input: ['a', 'b'] }
    if (kind.embeddingUrl === null) {
      expect(await ask({ type: 'embedding', body })).toMatchObject({
        ok: false,
        class: 'final',
        code: 'unsupported_type',
        status: null,
        ambiguous: false,
      })
      expect(upstream.calls).toHaveLength(0)
      return
    }
    replay(upstream, kind.kind, 'embeddings.json')
    const answer = await ask({ type: 'embedding', body })
    expect(answer).toMatchObject({ ok: true, body: { object: 'list', data: [{ index: 0 }, { index: 1 }] } })
    expect(upstream.calls).toMatchObject([
      { path: kind.embeddingUrl, body: { input: ['a', 'b'], model: kind.model } },
    ])
    expect(answer.ok && answer.usage).toEqual(
      kind.kind === 'gemini' ? null : { input_tokens: 4, output_tokens: 0, total_tokens: 4 },
    )
  })
})

test('an Anthropic provider serves responses by the way of chats', async () => {
  const kind = KINDS.find((one) => one.kind === 'anthropic')!
  const { upstream, ask } = await openBench(kind)
  replay(upstream, kind.kind, 'chat.json')
  expect(await ask({ type: 'response', body: { input: 'x' } })).toMatchObject({
    ok: true,
    body: { object: 'response', status: 'completed', output: [{ type: 'message' }] },
  })
  expect(upstream.calls).toMatchObject([{ body: { messages: [{ role: 'user', content: 'x' }] } }])
})
