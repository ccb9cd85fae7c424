// Anthropic's package and those built on its API, unmodified.
import { createAnthropic } from '@ai-sdk/anthropic'
import Anthropic from '@anthropic-ai/sdk'
import { ChatAnthropic } from '@langchain/anthropic'
import { HumanMessage } from '@langchain/core/messages'
import { generateText, streamText } from 'ai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../lib/json.ts'
import { type Stack, startStack } from '../helpers/stack.ts'
import { answer, chunk, completion, openEvents, startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
/** Speaks Anthropic's API, byte for byte as a test sets it. */
let claude: Upstream
/** Speaks OpenAI's API. */
let chats: Upstream
let client: Anthropic

beforeAll(async () => {
  ;[claude, chats] = await Promise.all([startUpstream(), startUpstream()])
  stack = await startStack({
    simulator: ['--output-tokens', '40'],
    extra: `
  claude:
    kind: anthropic
    base_url: ${claude.url}
    api_key: key-of-the-provider
    headers: { anthropic-beta: configured-2026 }
    retry: { max_attempts: 1 }
    models: { model: {} }
  chats:
    kind: openai-compatible
    base_url: ${chats.url}
    retry: { max_attempts: 1 }
    models: { model: {} }`,
  })
  client = new Anthropic({ baseURL: stack.urls[0]!, apiKey: 'unused', maxRetries: 0 })
})
afterAll(async () => {
  await Promise.all([claude?.close(), chats?.close()])
  expect(await stack?.stop()).toEqual([0, 0, 0])
})

let texts = 0
const fresh = (text = 'hello') => `${text} ${++texts}`
const user = (text?: string) => [{ role: 'user' as const, content: fresh(text) }]

/** A message with everything that a client may have to send back unchanged. */
const thoughtful: JsonObject = {
  id: 'msg_01',
  type: 'message',
  role: 'assistant',
  model: 'claude-own',
  content: [
    { type: 'thinking', thinking: 'Hm, rivers…', signature: 'EqQBCgIYAg==' },
    { type: 'text', text: 'I look it up.', unheard_of: { deep: [1.0, 2] } },
    { type: 'tool_use', id: 'toolu_01', name: 'find', input: { query: 'Elbe', zoom: 12 } },
  ],
  stop_reason: 'tool_use',
  stop_sequence: null,
  usage: { input_tokens: 5, cache_read_input_tokens: 100, cache_creation_input_tokens: 0, output_tokens: 9 },
  container: null,
}

const events: JsonObject[] = [
  { type: 'message_start', message: { ...thoughtful, content: [], stop_reason: null } },
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Hm, ' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'rivers…' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'EqQBCgIYAg==' } },
  { type: 'content_block_stop', index: 0 },
  {
    type: 'content_block_start',
    index: 1,
    content_block: { type: 'text', text: '', unheard_of: { deep: [1, 2] } },
  },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'I look ' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'it up.' } },
  { type: 'content_block_stop', index: 1 },
  {
    type: 'content_block_start',
    index: 2,
    content_block: { type: 'tool_use', id: 'toolu_01', name: 'find', input: {} },
  },
  {
    type: 'content_block_delta',
    index: 2,
    delta: { type: 'input_json_delta', partial_json: '{"query":"El' },
  },
  {
    type: 'content_block_delta',
    index: 2,
    delta: { type: 'input_json_delta', partial_json: 'be","zoom":12}' },
  },
  { type: 'content_block_stop', index: 2 },
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 9 },
  },
  { type: 'message_stop' },
]

function streamMessage(upstream: Upstream): void {
  upstream.script = (_call, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    response.end()
  }
}

const tools = [
  {
    name: 'find',
    description: 'Finds a river.',
    input_schema: { type: 'object' as const, properties: { query: { type: 'string' } } },
  },
]

describe('a lane of kind anthropic', () => {
  test('passes the body on as the client wrote it, except for the model, and returns the answer unchanged', async () => {
    claude.script = (_call, response) => answer(response, 200, thoughtful)
    const text = JSON.stringify(fresh())
    const body = `{"max_tokens":20, "model":"claude/model","messages":[{"role":"user","content":[{"type":"text","text":${text},"cache_control":{"type":"ephemeral"}}]}],"thinking":{"budget_tokens":1024.0,"type":"enabled"},"tomorrow":1e2}`
    const response = await fetch(`${stack.urls[0]}/v1/messages`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-api-key': 'unused',
        'anthropic-version': '2023-06-01',
        'anthropic-beta': 'one-2026,two-2026',
      },
      body,
    })
    expect(await response.text()).toBe(JSON.stringify(thoughtful))
    expect(response.headers.get('request-id')).toBeTruthy()
    const call = claude.calls.at(-1)!
    expect(call.path).toBe('/v1/messages')
    expect(call.text).toBe(body.replace('"claude/model"', '"model"'))
    expect(call.headers['anthropic-beta']).toBe('configured-2026,one-2026,two-2026')
    expect(call.headers['x-api-key']).toBe('key-of-the-provider')
  })

  test('streams tools and thinking, and replays them from the cache', async () => {
    streamMessage(claude)
    const body = { model: 'claude/model', max_tokens: 2000, messages: user(), tools }
    const first = await client.messages.stream(body).finalMessage()
    const calls = claude.calls.length
    const second = await client.messages.stream(body).finalMessage()
    const whole = await client.messages.create(body)
    expect(claude.calls.length).toBe(calls)
    for (const message of [first, second, whole]) {
      expect(JSON.parse(JSON.stringify(message))).toMatchObject(thoughtful)
    }
  })

  test('passes events on unchanged', async () => {
    streamMessage(claude)
    const body = { model: 'claude/model', max_tokens: 2000, messages: user(), tools, stream: true }
    const response = await fetch(`${stack.urls[0]}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = (await response.text()).replaceAll(/^:.*\n\n?/gm, '')
    expect(text).toBe(
      events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''),
    )
  })

  test.each([
    [400, 'invalid_request_error', Anthropic.BadRequestError],
    [401, 'authentication_error', Anthropic.AuthenticationError],
    [403, 'permission_error', Anthropic.PermissionDeniedError],
    [404, 'not_found_error', Anthropic.NotFoundError],
    [529, 'overloaded_error', Anthropic.InternalServerError],
  ])(
    'returns an error of the provider: %i %s',
    async (status, type, expected) => {
      claude.script = (_call, response) =>
        answer(response, status, { type: 'error', error: { type, message: 'so it is' } })
      const body = { model: 'claude/model', max_tokens: 20, messages: user() }
      const error = await client.messages.create(body).then(
        () => null,
        (thrown) => thrown,
      )
      expect(error).toBeInstanceOf(expected)
      expect(error.status).toBe(status)
      expect(error.error).toMatchObject({ type: 'error', error: { type, message: 'so it is' } })
      expect(error.requestID).toBeTruthy()
    },
    20_000,
  )
})

describe('a lane of another kind', () => {
  test('sends a chat, and its answer comes back as a message', async () => {
    const call = { id: 'call_1', type: 'function', function: { name: 'find', arguments: '{"query":"Elbe"}' } }
    const usage = {
      prompt_tokens: 30,
      completion_tokens: 4,
      total_tokens: 34,
      prompt_tokens_details: { cached_tokens: 10 },
    }
    chats.script = (_call, response) =>
      answer(
        response,
        200,
        completion('I look.', { reasoning_content: 'Hm.', tool_calls: [call] }, { usage }),
      )
    const message = await client.messages.create({
      model: 'chats/model',
      max_tokens: 100,
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      messages: [
        { role: 'user', content: fresh('Which river?') },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Hm', signature: 'x' },
            { type: 'tool_use', id: 'toolu_0', name: 'find', input: { query: 'Rhein' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_0', content: 'none', is_error: true },
            { type: 'text', text: 'Again' },
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
          ],
        },
      ],
      tools,
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
      stop_sequences: ['END'],
      top_k: 5,
      thinking: { type: 'enabled', budget_tokens: 5000 },
      metadata: { user_id: 'u-1' },
    })
    expect(message).toMatchObject({
      type: 'message',
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Hm.' },
        { type: 'text', text: 'I look.' },
        { type: 'tool_use', id: 'call_1', name: 'find', input: { query: 'Elbe' } },
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 20, cache_read_input_tokens: 10, output_tokens: 4 },
    })
    expect(chats.calls.at(-1)!.body).toMatchObject({
      model: 'model',
      max_tokens: 100,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'toolu_0', function: { arguments: '{"query":"Rhein"}' } }],
        },
        { role: 'tool', tool_call_id: 'toolu_0', content: 'Error: none' },
        {
          role: 'user',
          content: [{ type: 'text', text: 'Again' }, { image_url: { url: 'data:image/png;base64,AAAA' } }],
        },
      ],
      tools: [{ type: 'function', function: { name: 'find', parameters: tools[0]!.input_schema } }],
      tool_choice: 'required',
      parallel_tool_calls: false,
      stop: ['END'],
      top_k: 5,
      reasoning_effort: 'medium',
      user: 'u-1',
    })
  })

  test('streams it as a message, block by block', async () => {
    chats.script = (_call, response) => {
      const { send, end } = openEvents(response)
      send(chunk({ role: 'assistant', reasoning_content: 'Hm.' }))
      for (const text of ['I ', 'look.']) send(chunk({ content: text }))
      const called = { name: 'find', arguments: '{"query":' }
      send(chunk({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: called }] }))
      send(chunk({ tool_calls: [{ index: 0, function: { arguments: '"Elbe"}' } }] }))
      send(chunk({}, 'tool_calls', { usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }))
      send('[DONE]')
      end()
    }
    const body = { model: 'chats/model', max_tokens: 100, messages: user(), tools }
    const types: string[] = []
    const stream = client.messages.stream(body).on('streamEvent', ({ type }) => types.push(type))
    const first = await stream.finalMessage()
    const second = await client.messages.create(body)
    expect(types.filter((type) => type === 'content_block_start')).toHaveLength(3)
    expect(types.at(0)).toBe('message_start')
    expect(types.at(-1)).toBe('message_stop')
    expect(first).toMatchObject({
      content: [
        { type: 'thinking', thinking: 'Hm.' },
        { type: 'text', text: 'I look.' },
        { type: 'tool_use', id: 'call_1', name: 'find', input: { query: 'Elbe' } },
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 3, output_tokens: 4 },
    })
    expect(second.content).toEqual(JSON.parse(JSON.stringify(first.content)))
  })

  test.each([
    ['tools[0].type', { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
    ['mcp_servers', { mcp_servers: [{ type: 'url', url: 'https://x.example', name: 'x' }] }],
    [
      'messages[0].content[0].type',
      { messages: [{ role: 'user', content: [{ type: 'container_upload', file_id: 'f' }] }] },
    ],
  ])('refuses %s by its name', async (param, members) => {
    const body = { model: 'chats/model', max_tokens: 10, messages: user(), ...members }
    const calls = chats.calls.length
    await expect(client.messages.create(body as never)).rejects.toMatchObject({
      status: 400,
      error: { error: { type: 'invalid_request_error', param } },
    })
    expect(chats.calls.length).toBe(calls)
  })
})

test('counts tokens by the provider where that is Anthropic, and returns its errors', async () => {
  claude.script = (_call, response) => answer(response, 200, { input_tokens: 1234 })
  const asked = { model: 'claude/model', system: 'Be brief.', messages: user(), tools }
  expect(await client.messages.countTokens(asked)).toEqual({ input_tokens: 1234 })
  expect(claude.calls.at(-1)).toMatchObject({
    path: '/v1/messages/count_tokens',
    body: { ...asked, model: 'model' },
  })
  claude.script = (_call, response) =>
    answer(response, 400, { type: 'error', error: { type: 'invalid_request_error', message: 'so it is' } })
  await expect(client.messages.countTokens(asked)).rejects.toMatchObject({
    status: 400,
    error: { error: { type: 'invalid_request_error', message: 'so it is' } },
  })
})

test('counts tokens, and reports faults in the shape that the package reads', async () => {
  const { input_tokens } = await client.messages.countTokens({
    model: 'chats/model',
    messages: user('a b c d'),
  })
  expect(input_tokens).toBeGreaterThan(1)
  await expect(
    client.messages.create({ model: 'nobody/model', max_tokens: 1, messages: user() }),
  ).rejects.toBeInstanceOf(Anthropic.NotFoundError)
  await expect(
    client.messages.create({ model: 'chats/model', messages: user() } as never),
  ).rejects.toMatchObject({
    status: 400,
    error: { type: 'error', error: { type: 'invalid_request_error', param: 'max_tokens' } },
  })
})

test('accepts what the package sends for betas, which the provider gets too', async () => {
  claude.script = (_call, response) => answer(response, 200, thoughtful)
  const body = { model: 'claude/model', max_tokens: 100, messages: user(), tools, betas: ['new-2026'] }
  expect((await client.beta.messages.create(body)).stop_reason).toBe('tool_use')
  expect(claude.calls.at(-1)!.headers['anthropic-beta']).toBe('configured-2026,new-2026')
  // Another beta may give another answer.
  const calls = claude.calls.length
  await client.beta.messages.create({ ...body, betas: ['newer-2026'] })
  expect(claude.calls.length).toBe(calls + 1)
})

test('makes a job of each call, which the job API accepts as well', async () => {
  chats.script = (_call, response) => answer(response, 200, completion('Elbe.'))
  const body = { model: 'chats/model', max_tokens: 10, messages: user() }
  const headers = { 'content-type': 'application/json' }
  const made = await fetch(`${stack.urls[0]}/v1/jobs`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ type: 'message', body }),
  })
  const { id } = (await made.json()) as { id: string }
  const job = await (await fetch(`${stack.urls[0]}/v1/jobs/${id}?wait=10`)).json()
  expect(job).toMatchObject({
    type: 'message',
    status: 'completed',
    result: { type: 'message', content: [{ type: 'text', text: 'Elbe.' }] },
    usage: { input_tokens: 3, output_tokens: 4 },
  })
  const { response } = await client.messages.create(body).withResponse()
  expect(response.headers.get('x-cache')).toBe('hit')
})

test('runs batches, and gives each request its result', async () => {
  chats.script = (call, response) =>
    JSON.stringify(call.body.messages).includes('bad')
      ? answer(response, 400, {
          type: 'error',
          error: { type: 'invalid_request_error', message: 'so it is' },
        })
      : answer(response, 200, completion('Elbe.'))
  const params = (content: string) => ({
    model: 'chats/model',
    max_tokens: 100,
    messages: [{ role: 'user' as const, content }],
  })
  const made = await client.messages.batches.create({
    requests: [
      { custom_id: 'good', params: params(fresh()) },
      { custom_id: 'bad', params: params(fresh('bad')) },
      { custom_id: 'other', params: { ...params(fresh()), model: 'sim/chat' } },
    ],
  })
  expect(made).toMatchObject({ type: 'message_batch', processing_status: 'in_progress', results_url: null })
  await expect(client.messages.batches.results(made.id)).rejects.toThrow()
  await expect(client.messages.batches.delete(made.id)).rejects.toThrow('has not ended')
  await expect
    .poll(async () => (await client.messages.batches.retrieve(made.id)).processing_status, {
      timeout: 20_000,
    })
    .toBe('ended')
  const results = new Map<string, unknown>()
  for await (const { custom_id, result } of await client.messages.batches.results(made.id))
    results.set(custom_id, result)
  expect(results.get('good')).toMatchObject({
    type: 'succeeded',
    message: { type: 'message', content: [{ type: 'text', text: 'Elbe.' }], stop_reason: 'end_turn' },
  })
  expect(results.get('bad')).toMatchObject({
    type: 'errored',
    error: { type: 'error', error: { type: 'invalid_request_error', message: 'so it is' } },
  })
  expect(results.get('other')).toMatchObject({
    type: 'succeeded',
    message: { type: 'message', role: 'assistant' },
  })
  const ended = await client.messages.batches.retrieve(made.id)
  expect(ended.request_counts).toEqual({ processing: 0, succeeded: 2, errored: 1, canceled: 0, expired: 0 })
  const ids: string[] = []
  for await (const { id } of client.messages.batches.list({ limit: 1 })) ids.push(id)
  expect(ids).toEqual([made.id])
  expect(await client.messages.batches.delete(made.id)).toEqual({
    id: made.id,
    type: 'message_batch_deleted',
  })
  for (const gone of [client.messages.batches.retrieve(made.id), client.messages.batches.delete(made.id)])
    await expect(gone).rejects.toBeInstanceOf(Anthropic.NotFoundError)
  expect((await client.messages.batches.list()).data).toEqual([])
  const twice = { custom_id: 'one', params: params('x') }
  await expect(client.messages.batches.create({ requests: [twice, twice] })).rejects.toMatchObject({
    status: 400,
    error: { error: { param: 'requests[1].custom_id' } },
  })
  await expect(client.messages.batches.retrieve('msgbatch_none')).rejects.toBeInstanceOf(
    Anthropic.NotFoundError,
  )
}, 60_000)

test('lists models in the shape that the package reads', async () => {
  const ids: string[] = []
  for await (const model of client.models.list()) ids.push(model.id)
  expect(ids).toEqual(expect.arrayContaining(['claude/model', 'chats/model']))
  expect(await client.models.retrieve('claude/model')).toMatchObject({ type: 'model', id: 'claude/model' })
})

describe.each(['sim/chat', 'claude/model'])('frameworks over %s', (model) => {
  beforeAll(() => {
    claude.script = (call, response) => {
      const said = { ...thoughtful, content: [{ type: 'text', text: 'Hello.' }], stop_reason: 'end_turn' }
      if (call.body.stream !== true) return answer(response, 200, said)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const event of [...events.slice(0, 1), ...events.slice(6, 10), ...events.slice(14)])
        response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      response.end()
    }
  })

  test('the AI SDK', async () => {
    const anthropic = createAnthropic({ baseURL: `${stack.urls[0]}/v1`, apiKey: 'unused' })
    const whole = await generateText({ model: anthropic(model), prompt: fresh() })
    expect(whole.text).not.toBe('')
    const streamed = streamText({ model: anthropic(model), prompt: fresh() })
    expect(await streamed.text).not.toBe('')
  })

  test('LangChain', async () => {
    const chat = new ChatAnthropic({
      model,
      apiKey: 'unused',
      anthropicApiUrl: stack.urls[0]!,
      maxTokens: 50,
    })
    expect((await chat.invoke([new HumanMessage(fresh())])).text).not.toBe('')
    let text = ''
    for await (const piece of await chat.stream([new HumanMessage(fresh())])) text += piece.text
    expect(text).not.toBe('')
  })
})
