import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createJob, getAttempts, getJob, post, type Stack, startStack, waitForJob } from '../helpers/stack.ts'
import { startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
let anthropic: Upstream
let client: OpenAI

beforeAll(async () => {
  anthropic = await startUpstream()
  stack = await startStack({
    extra: `
  anthropic:
    kind: anthropic
    base_url: ${new URL(anthropic.url).origin}
    api_key: a-secret-of-the-provider
    default_max_tokens: 512
    limits: { requests_per_minute: 1000, input_tokens_per_minute: 100000, output_tokens_per_minute: 100000 }
    retry: { max_attempts: 2, base: 10ms, cap: 20ms }
    models: { claude-haiku-4-5: { price: { input: 1, output: 5 } } }
  lenient:
    kind: anthropic
    base_url: ${new URL(anthropic.url).origin}
    api_key: a-secret-of-the-provider
    on_unsupported: drop
    models: { claude: {} }
routes: { either: [anthropic/claude-haiku-4-5, sim/chat], lax: [lenient/claude] }`,
  })
  client = new OpenAI({ baseURL: `${stack.urls[0]}/v1`, apiKey: 'unused', maxRetries: 0 })
})
afterAll(async () => {
  await anthropic?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0])
})
beforeEach(() => {
  anthropic.calls.length = 0
})

const model = 'anthropic/claude-haiku-4-5'
const tools = [
  {
    type: 'function' as const,
    function: { name: 'get_weather', parameters: { type: 'object', properties: {} } },
  },
]

let texts = 0
/** A conversation unlike any other, so that no answer is shared. */
const messages = () => [{ role: 'user' as const, content: `What colour is the sky? ${++texts}` }]

function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/providers/anthropic/${name}`, import.meta.url), 'utf8')
}

/** Answers one call after the other with these files. */
function replay(...names: string[]): void {
  let next = 0
  anthropic.script = (_call, response) => {
    const name = names[Math.min(next++, names.length - 1)]!
    if (name.endsWith('.sse')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(fixture(name))
      return
    }
    const { status, headers, body } = JSON.parse(fixture(name))
    response.writeHead(status, headers).end(JSON.stringify(body))
  }
}

test('a job of an Anthropic model is answered, counted and priced', async () => {
  replay('overloaded.json', 'thinking.json')
  const { id } = await createJob(stack.urls[0]!, { type: 'chat', body: { model, messages: messages() } })
  const job = await waitForJob(stack.urls[0]!, id)
  expect(job).toMatchObject({
    status: 'completed',
    attempts: 2,
    usage: { input_tokens: 1120, output_tokens: 300, total_tokens: 1420 },
    result: { object: 'chat.completion', choices: [{ message: { content: 'The sky is blue.' } }] },
  })
  // 20 new tokens, 100 written to the prompt cache at 1.25 of the rate, 1,000 read from it at a tenth.
  expect(job.cost_usd).toBeCloseTo((20 + 100 * 1.25 + 1000 * 0.1 + 5 * 300) / 1e6, 12)
  expect(await getAttempts(stack.urls[0]!, id)).toMatchObject([
    { outcome: 'retryable', status: 529, error_code: 'overloaded_error' },
    { outcome: 'completed', status: 200 },
  ])
  expect(anthropic.calls).toMatchObject([
    { path: '/v1/messages', headers: { 'x-api-key': 'a-secret-of-the-provider' }, body: { max_tokens: 512 } },
    { path: '/v1/messages', body: { model: 'claude-haiku-4-5' } },
  ])
})

test('the openai package gets a whole answer', async () => {
  replay('tool-call.json')
  const answer = await client.chat.completions.create({ model, messages: messages(), tools })
  expect(answer.choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: { tool_calls: [{ id: 'toolu_01D7FLrfh4GYq7yT1ULFeyMV', function: { name: 'get_weather' } }] },
  })
})

test('the openai package gets a stream, with its usage', async () => {
  replay('stream.sse')
  const stream = client.chat.completions.stream({
    model,
    messages: messages(),
    stream_options: { include_usage: true },
  })
  let text = ''
  stream.on('content', (delta) => {
    text += delta
  })
  const answer = await stream.finalChatCompletion()
  expect(text).toBe('The sky is blue.')
  expect(answer.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'The sky is blue.' } })
  expect(answer.usage).toMatchObject({ prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 })
})

test('the openai package gets a streamed call of a tool', async () => {
  replay('stream-tool-call.sse')
  const answer = await client.chat.completions
    .stream({ model, messages: messages(), tools })
    .finalChatCompletion()
  const [call] = answer.choices[0]!.message.tool_calls!
  expect(call).toMatchObject({ type: 'function', function: { name: 'get_weather' } })
  expect(JSON.parse((call as { function: { arguments: string } }).function.arguments)).toEqual({
    city: 'Oslo',
  })
})

test('what Anthropic cannot do is a bad request that names the member', async () => {
  const call = client.chat.completions.create({ model, messages: messages(), n: 2 })
  await expect(call).rejects.toMatchObject({ status: 400, code: 'invalid_request', param: 'n' })
  const embedding = client.embeddings.create({ model, input: 'x' })
  await expect(embedding).rejects.toMatchObject({ status: 400, code: 'unsupported_type' })
  expect(anthropic.calls).toHaveLength(0)
})

test('Anthropic’s refusals reach the client with their own messages', async () => {
  replay('invalid.json')
  const call = client.chat.completions.create({ model, messages: messages() })
  await expect(call).rejects.toMatchObject({
    status: 400,
    type: 'invalid_request_error',
    error: { request_id: 'req_011CSHoEeqs5C35K2UUqR7Fy' },
  })
})

test('the openai package gets responses, whole and streamed, from the same call', async () => {
  replay('thinking.json')
  const input = messages()[0]!.content
  const created = await client.responses.create({ model, input })
  expect(created.output_text).toBe('The sky is blue.')
  expect(created.output.map(({ type }) => type)).toEqual(['reasoning', 'message'])
  expect(created.usage).toMatchObject({ input_tokens: 1120, output_tokens: 300, total_tokens: 1420 })
  const replayed = await client.responses.stream({ model, input }).finalResponse()
  expect(replayed.output_text).toBe('The sky is blue.')

  replay('stream-tool-call.sse')
  const functions = [
    {
      type: 'function' as const,
      name: 'get_weather',
      parameters: { type: 'object', properties: {} },
      strict: false,
    },
  ]
  const asked = { model, input: messages()[0]!.content, tools: functions }
  const events: string[] = []
  const streamed = await client.responses
    .stream(asked)
    .on('event', ({ type }) => events.push(type))
    .finalResponse()
  expect(streamed.output.at(-1)).toMatchObject({ type: 'function_call', name: 'get_weather' })
  expect(JSON.parse((streamed.output.at(-1) as { arguments: string }).arguments)).toEqual({ city: 'Oslo' })
  expect(events).toEqual(expect.arrayContaining(['response.function_call_arguments.delta']))
  const whole = await client.responses.create(asked)
  expect(whole.output).toMatchObject(JSON.parse(JSON.stringify(streamed.output)).map(withoutParsed))
})

function withoutParsed({ parsed_arguments: _parsed, content, ...item }: Record<string, unknown>) {
  if (!Array.isArray(content)) return item
  return { ...item, content: content.map(({ parsed: _one, ...part }) => part) }
}

test('a response continues another one, with all that was said before', async () => {
  replay('chat.json')
  const first = await client.responses.create({ model, input: 'First?', instructions: 'Be brief.' })
  const second = await client.responses.create({ model, input: 'Second?', previous_response_id: first.id })
  const third = await client.responses.create({ model, input: 'Third?', previous_response_id: second.id })
  expect(third.previous_response_id).toBe(second.id)
  const { messages: said, system } = anthropic.calls.at(-1)!.body as {
    messages: { role: string }[]
    system?: string
  }
  expect(said.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user'])
  expect(JSON.stringify(said)).toMatch(/First\?.*blue.*Second\?.*blue.*Third\?/)
  expect(system).toBeUndefined()
  const missing = client.responses.create({ model, input: 'x', previous_response_id: 'resp_of_somebody' })
  await expect(missing).rejects.toMatchObject({ status: 400, code: 'invalid_request' })
})

test('a route skips the lane that cannot serve the request, and says so where none can', async () => {
  const body = { model: 'either', messages: messages(), seed: 7 }
  const { response } = await client.chat.completions.create(body).withResponse()
  expect((await getJob(stack.urls[0]!, response.headers.get('x-job-id')!)).lane).toBe('sim/chat')
  const job = await post(stack.urls[0]!, '/v1/jobs', { type: 'chat', body: { ...body, model } })
  expect(job.status).toBe(400)
  expect(((await job.json()) as { error: object }).error).toMatchObject({
    code: 'invalid_request',
    param: 'body.seed',
  })
  expect(anthropic.calls).toHaveLength(0)
})

test('a route does not go on to a lane that cannot serve the request', async () => {
  replay('quota.json')
  const { id } = await createJob(stack.urls[0]!, {
    type: 'chat',
    body: { model: 'either', messages: messages() },
  })
  expect(await waitForJob(stack.urls[0]!, id)).toMatchObject({ status: 'completed', lane: 'sim/chat' })
})

test('members that on_unsupported: drop leaves out are shown in a header and in the job', async () => {
  replay('chat.json')
  const { response } = await client.chat.completions
    .create({ model: 'lax', messages: messages(), seed: 7, logit_bias: { 5: 1 } })
    .withResponse()
  expect(response.headers.get('x-dropped-members')).toBe('seed, logit_bias')
  expect((await getJob(stack.urls[0]!, response.headers.get('x-job-id')!)).dropped_members).toEqual([
    'seed',
    'logit_bias',
  ])
  expect(Object.keys(anthropic.calls[0]!.body).sort()).toEqual(['max_tokens', 'messages', 'model'])
})
