import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { getJob, type Stack, startStack } from '../helpers/stack.ts'
import { until } from '../helpers/store.ts'
import { answer, chunk, completion, openEvents, startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
let own: Upstream
let client: OpenAI

beforeAll(async () => {
  own = await startUpstream()
  stack = await startStack({
    simulator: ['--output-tokens', '40'],
    extra: `
  own:
    kind: openai
    base_url: ${own.url}
    api_key: a-secret-of-the-provider
    retry: { max_attempts: 2, base: 10ms, cap: 20ms }
    models: { model: {}, "*": {} }
  hasty:
    kind: openai-compatible
    base_url: ${own.url}
    timeout: 300ms
    retry: { max_attempts: 2, base: 10ms, cap: 20ms }
    models: { "*": {} }
routes: { fast: [sim/chat] }`,
  })
  client = new OpenAI({ baseURL: `${stack.urls[0]}/v1`, apiKey: 'unused', maxRetries: 0 })
})
afterAll(async () => {
  await own?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0])
})
beforeEach(() => {
  own.calls.length = 0
})

let texts = 0
/** A conversation unlike any other, so that no answer is shared. */
const messages = (content = 'hello'): OpenAI.ChatCompletionMessageParam[] => [
  { role: 'user', content: `${content} ${++texts}` },
]

/** The error with which a call fails. */
async function failureOf(call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  return call.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => error,
  )
}

describe('chat completions of the openai package', () => {
  test('come back as the provider gave them, and go out as the client sent them', async () => {
    own.script = (_call, response) =>
      answer(response, 200, completion('Hi.', { mood: { kind: 'odd' } }, { x_trace: [1, null] }))
    const body = {
      model: 'own/model',
      messages: messages(),
      temperature: 0,
      seed: 7,
      frobnicate: { deeply: [{ nested: null }] },
    }
    const { data, response } = await client.chat.completions.create(body).withResponse()
    expect(data).toMatchObject(completion('Hi.', { mood: { kind: 'odd' } }, { x_trace: [1, null] }))
    expect(own.calls.map((call) => call.body)).toEqual([{ ...body, model: 'model' }])
    expect(own.calls[0]!.headers.authorization).toBe('Bearer a-secret-of-the-provider')
    expect(response.headers.get('x-cache')).toBe('miss')
    expect(await getJob(stack.urls[0]!, response.headers.get('x-job-id')!)).toMatchObject({
      status: 'completed',
      attempts: 1,
      usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
    })
  })

  test('stream the same text as in one piece', async () => {
    const body = { model: 'fast', messages: messages(), n: 2 }
    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    })
    const said = ['', '']
    const usages: unknown[] = []
    for await (const { choices, usage } of stream) {
      for (const { index, delta } of choices) said[index] += delta.content ?? ''
      if (usage) usages.push(usage)
    }
    // Equal content, though one streams and the other does not: from the cache.
    const whole = await client.chat.completions.create(body).withResponse()
    expect(whole.response.headers.get('x-cache')).toBe('hit')
    expect(whole.data.choices.map(({ message }) => message.content)).toEqual(said)
    expect(usages).toEqual([whole.data.usage])
  })

  test('work with the stream helper, tools included', async () => {
    const tools: OpenAI.ChatCompletionTool[] = [
      { type: 'function', function: { name: 'find', parameters: { type: 'object', properties: {} } } },
    ]
    const body = { model: 'sim/chat', messages: messages('use a [[tool]]'), tools }
    const events: string[] = []
    const runner = client.chat.completions
      .stream(body)
      .on('tool_calls.function.arguments.done', ({ name }) => events.push(name))
    const streamed = await runner.finalChatCompletion()
    const [call] = streamed.choices[0]!.message.tool_calls!
    expect(events).toEqual(['find'])
    expect(streamed.choices[0]!.finish_reason).toBe('tool_calls')
    expect(JSON.parse((call as { function: { arguments: string } }).function.arguments)).toBeTypeOf('object')

    // A replay of the cached answer adds up to the same.
    const again = await client.chat.completions.stream(body).finalChatCompletion()
    expect(again).toEqual(streamed)
    const whole = await client.chat.completions.create(body)
    expect(whole.choices[0]!.message.tool_calls).toMatchObject([{ id: call!.id, type: 'function' }])
  })

  test('parse structured outputs', async () => {
    const river = z.object({ name: z.string(), length: z.number() })
    own.script = (_call, response) => answer(response, 200, completion('{"name":"Aare","length":288.2}'))
    const parsed = await client.chat.completions.parse({
      model: 'own/model',
      messages: messages(),
      response_format: zodResponseFormat(river, 'river'),
    })
    expect(parsed.choices[0]!.message.parsed).toEqual({ name: 'Aare', length: 288.2 })
    const format = own.calls[0]!.body.response_format as { json_schema: { schema: JsonObject } }
    expect(format).toEqual(zodResponseFormat(river, 'river'))
    expect(Object.keys(format.json_schema.schema.properties as object)).toEqual(['name', 'length'])
  })
})

describe('embeddings of the openai package', () => {
  test('come in the requested format, independent of the first request', async () => {
    const before = (await stack.simulator.state()).billed_calls
    const ask = (encoding_format?: 'float' | 'base64') =>
      client.embeddings
        .create({
          model: 'sim/embed',
          input: ['a river', 'a lake'],
          dimensions: 8,
          ...(encoding_format ? { encoding_format } : {}),
        })
        .withResponse()
    const plain = await ask() // The package asks for base64 and unpacks it.
    const float = await ask('float')
    const packed = await ask('base64')
    expect(float.data.data).toEqual(
      plain.data.data.map((entry) => ({ ...entry, embedding: expect.any(Array) })),
    )
    expect(float.data.data[1]!.embedding.map(Math.fround)).toEqual(plain.data.data[1]!.embedding)
    const bytes = Buffer.from(packed.data.data[1]!.embedding as unknown as string, 'base64')
    expect([...new Float32Array(new Uint8Array(bytes).buffer)]).toEqual(plain.data.data[1]!.embedding)
    expect([plain, float, packed].map(({ response }) => response.headers.get('x-cache'))).toEqual([
      'miss',
      'hit',
      'hit',
    ])
    expect((await stack.simulator.state()).billed_calls - before).toBe(1)
  })

  test('take tokens, lists of tokens and dimensions, and keep them separate', async () => {
    const ask = async (input: string | number[] | number[][], dimensions: number) => {
      const { data, usage } = await client.embeddings.create({ model: 'sim/embed', input, dimensions })
      return { vectors: data.map(({ embedding }) => embedding), tokens: usage.prompt_tokens }
    }
    const [one, two, wide] = [
      await ask([1, 2, 3], 4),
      await ask(
        [
          [1, 2, 3],
          [4, 5],
        ],
        4,
      ),
      await ask([1, 2, 3], 5),
    ]
    expect(one.tokens).toBe(3)
    // The first of the two is known by now, and is not paid for again.
    expect(two.tokens).toBe(2)
    expect(wide.tokens).toBe(3)
    expect(two.vectors[0]).toEqual(one.vectors[0])
    expect(two.vectors.map((vector) => vector.length)).toEqual([4, 4])
    expect(wide.vectors.map((vector) => vector.length)).toEqual([5])
  })
})

describe('errors in the openai package', () => {
  const ask = (content: string, model = 'sim/chat') =>
    client.chat.completions.create({ model, messages: messages(content) })

  test.each([
    ['[[fault:400]]', OpenAI.BadRequestError, { status: 400, type: 'invalid_request_error', code: null }],
    ['[[fault:401]]', OpenAI.AuthenticationError, { status: 401, code: 'invalid_api_key' }],
    ['[[fault:404]]', OpenAI.NotFoundError, { status: 404, code: 'model_not_found' }],
    ['[[fault:422]]', OpenAI.UnprocessableEntityError, { status: 422 }],
    ['[[fault:quota]]', OpenAI.RateLimitError, { status: 429, code: 'insufficient_quota' }],
    ['[[poison]]', OpenAI.BadRequestError, { status: 400, param: 'messages' }],
  ])('an answer that says %s is passed on, and the call is not repeated', async (content, kind, members) => {
    const before = (await stack.simulator.state()).calls
    const insistent = client.withOptions({ maxRetries: 2 })
    const error = await failureOf(
      insistent.chat.completions.create({ model: 'sim/chat', messages: messages(content) }),
    )
    expect(error).toBeInstanceOf(kind)
    expect(error).toMatchObject(members)
    expect(error.headers!.get('x-should-retry')).toBe('false')
    expect(error.headers!.get('x-job-id')).toMatch(/^job_/)
    expect((await stack.simulator.state()).calls - before).toBe(1)
  })

  test('the error object of the provider comes whole, without its key', async () => {
    const given = {
      message: 'The key a-secret-of-the-provider may not do this.',
      type: 'odd_error',
      param: 'messages.0',
      code: 77,
      innererror: { code: 'ResponsibleAIPolicyViolation', filter: { hate: { filtered: true } } },
    }
    own.script = (_call, response) => answer(response, 403, { error: given })
    const error = await failureOf(ask('hello', 'own/model'))
    expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError)
    expect(error.error).toEqual({ ...given, message: 'The key [key] may not do this.' })
  })

  test('attempts that all fail end with the last failure', async () => {
    own.script = (_call, response) =>
      answer(response, 503, {
        error: { message: 'Overloaded.', type: 'server_error', param: null, code: null },
      })
    const error = await failureOf(ask('hello', 'own/overloaded'))
    expect(error).toBeInstanceOf(OpenAI.InternalServerError)
    expect([error.status, error.error]).toEqual([
      503,
      { message: 'Overloaded.', type: 'server_error', param: null, code: null },
    ])
    expect(error.headers!.get('x-should-retry')).toBeNull()
    expect(error.headers!.get('retry-after')).toBe('2')
    expect(own.calls.length).toBe(2)
  })

  test('a provider without a message gets ours: garbage is a bad gateway, silence a gateway time-out', async () => {
    own.script = (_call, response) => answer(response, 502, '<html>bad gateway</html>')
    const garbage = await failureOf(ask('hello', 'own/garbage'))
    expect([garbage.status, garbage.code, garbage.type]).toEqual([502, 'http_502', 'server_error'])
    own.script = () => {}
    const silence = await failureOf(ask('hello', 'hasty/silence'))
    expect([silence.status, silence.code]).toEqual([504, 'timeout'])
    expect(silence.error).toEqual({
      message: expect.any(String),
      type: 'server_error',
      param: null,
      code: 'timeout',
    })
  })

  test('ours name the place in the body', async () => {
    const unknown = await failureOf(ask('hello', 'nobody/knows'))
    expect(unknown).toBeInstanceOf(OpenAI.NotFoundError)
    expect([unknown.code, unknown.param]).toEqual(['model_not_found', 'model'])
    const wrong = await failureOf(
      client.chat.completions.create({ model: 'fast', messages: [{ content: 'x' } as never] }),
    )
    expect(wrong).toBeInstanceOf(OpenAI.BadRequestError)
    expect(wrong.message).toContain('body.messages[0].role: is required')
    expect(wrong.param).toBe('messages[0].role')
    const empty = await failureOf(client.embeddings.create({ model: 'sim/embed', input: '' }))
    expect([empty.status, empty.param]).toEqual([400, 'input'])
  })
})

describe('streams that fail', () => {
  test('before the first chunk are tried again, invisible to the client', async () => {
    const content = 'hello [[fault:500:times=1]]'
    const { data, response } = await client.chat.completions
      .create({ model: 'sim/chat', messages: messages(content), stream: true })
      .withResponse()
    let finish: string | null = null
    for await (const { choices } of data) finish = choices[0]!.finish_reason
    expect(finish).toBe('stop')
    const job = await getJob(stack.urls[0]!, response.headers.get('x-job-id')!)
    expect(job).toMatchObject({ status: 'completed', attempts: 2 })
  })

  test('before the first chunk for good are plain errors', async () => {
    const error = await failureOf(
      client.chat.completions.create({ model: 'sim/chat', messages: messages('[[poison]]'), stream: true }),
    )
    expect(error).toBeInstanceOf(OpenAI.BadRequestError)
  })

  test.each(['truncated', 'error'])(
    'after the first chunk end with an error, and no further call (%s)',
    async (kind) => {
      own.script = (_call, response) => {
        const events = openEvents(response)
        events.send(chunk({ role: 'assistant', content: 'Hel' }))
        // Not at once, so that the chunk is sent before the end.
        setTimeout(() => {
          if (kind === 'error')
            events.send({ error: { message: 'Lost it.', type: 'server_error', code: 'lost' } })
          events.end()
        }, 100)
      }
      const { data, response } = await client.chat.completions
        .create({ model: `own/${kind}`, messages: messages(), stream: true })
        .withResponse()
      let said = ''
      const error = await failureOf(
        (async () => {
          for await (const { choices } of data) said += choices[0]!.delta.content
        })(),
      )
      expect(said).toBe('Hel')
      expect(error).toBeInstanceOf(OpenAI.APIError)
      expect(error.code).toBe(kind === 'error' ? 'lost' : 'truncated_stream')
      if (kind === 'error') expect(error.message).toBe('Lost it.')
      const id = response.headers.get('x-job-id')!
      await expect.poll(async () => (await getJob(stack.urls[0]!, id)).status).toBe('failed')
      expect(own.calls.length).toBe(1)
    },
  )
})

describe('a client that goes away', () => {
  test.each([false, true])('cancels its job and the call upstream (stream: %s)', async (stream) => {
    const called = Promise.withResolvers<void>()
    own.script = (_call, response) => {
      if (stream) openEvents(response).send(chunk({ role: 'assistant', content: 'Hel' }))
      called.resolve()
    }
    const leaving = new AbortController()
    const body = { model: 'own/patient', messages: messages(), stream }
    const asked = client.chat.completions.create(body, { signal: leaving.signal }).withResponse()
    if (stream) await asked
    await called.promise
    leaving.abort()
    await asked.catch((error) => expect(error).toBeInstanceOf(OpenAI.APIUserAbortError))
    await own.broken()
    const [job] = await listJobs()
    await expect.poll(async () => (await getJob(stack.urls[0]!, job!.id)).status).toBe('cancelled')
    expect(own.calls.length).toBe(1)
  })

  test('leaves the call to its followers', async () => {
    const release = Promise.withResolvers<void>()
    own.script = async (_call, response) => {
      await release.promise
      answer(response, 200, completion('for the other'))
    }
    const body = { model: 'own/model', messages: messages() }
    const leaving = new AbortController()
    const first = client.chat.completions.create(body, { signal: leaving.signal })
    await until(() => own.calls.length === 1)
    const second = client.chat.completions.create(body).withResponse()
    await until(async () => (await listJobs()).filter((job) => job.cache === 'shared').length > 0)
    leaving.abort()
    await expect(first).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    await until(async () => (await listJobs()).some((job) => job.status === 'cancelled'))
    release.resolve()
    const { data, response } = await second
    expect(data.choices[0]!.message.content).toBe('for the other')
    expect(response.headers.get('x-cache')).toBe('shared')
    expect(own.calls.length).toBe(1)
  })
})

test('models are the lanes and aliases', async () => {
  const ids = (await client.models.list()).data.map((model) => model.id)
  // With them come models of "*" that were used recently.
  expect(ids).toEqual(expect.arrayContaining(['sim/chat', 'sim/embed', 'own/model', 'fast']))
  expect(await client.models.retrieve('sim/chat')).toEqual({
    id: 'sim/chat',
    object: 'model',
    created: 0,
    owned_by: 'sim',
  })
  expect(await client.models.retrieve('fast')).toMatchObject({ owned_by: 'sluice' })
  expect(await client.models.retrieve('own/anything')).toMatchObject({ id: 'own/anything', owned_by: 'own' })
  const error = await failureOf(client.models.retrieve('sim/nothing'))
  expect([error.status, error.code]).toEqual([404, 'model_not_found'])
})

/** The newest jobs of this test's own upstream. */
async function listJobs(): Promise<{ id: string; status: string; cache: string }[]> {
  const response = await fetch(`${stack.urls[0]}/v1/jobs?limit=2`)
  return ((await response.json()) as { data: { id: string; status: string; cache: string }[] }).data
}
