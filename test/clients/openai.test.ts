// The openai package, unmodified, at its newest major and the two before.
import OpenAI5, { AzureOpenAI as AzureOpenAI5 } from 'openai5'
import OpenAI6, { AzureOpenAI as AzureOpenAI6 } from 'openai6'
import OpenAI7, { AzureOpenAI as AzureOpenAI7 } from 'openai7'
import type { ImageGenStreamEvent } from 'openai7/resources/images'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sniffMediaType } from '../../lib/media-type.ts'
import { getJob, type Stack, startStack } from '../helpers/stack.ts'
import { answer, completion, openEvents, startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
let own: Upstream

beforeAll(async () => {
  own = await startUpstream()
  stack = await startStack({
    simulator: ['--output-tokens', '40'],
    extra: `
  own:
    kind: openai-compatible
    base_url: ${own.url}
    retry: { max_attempts: 1 }
    models: { model: {} }
server: { early_headers: 500ms }`,
  })
})
afterAll(async () => {
  await own?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0])
})

/** The newest types fit all three: the tests use what they have in common. */
type Client = OpenAI7
type Constructors = { OpenAI: typeof OpenAI7; AzureOpenAI: typeof AzureOpenAI7 }

const majors: [string, Constructors][] = [
  ['7', { OpenAI: OpenAI7, AzureOpenAI: AzureOpenAI7 }],
  ['6', { OpenAI: OpenAI6, AzureOpenAI: AzureOpenAI6 } as unknown as Constructors],
  ['5', { OpenAI: OpenAI5, AzureOpenAI: AzureOpenAI5 } as unknown as Constructors],
]

let texts = 0
/** A text unlike any other, so that no answer is shared. */
const fresh = (text = 'hello') => `${text} ${++texts}`
const messages = (text?: string) => [{ role: 'user' as const, content: fresh(text) }]
const tools = [
  {
    type: 'function' as const,
    function: { name: 'find', parameters: { type: 'object', properties: { query: { type: 'string' } } } },
  },
]

async function failureOf(call: Promise<unknown>) {
  return call.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => error,
  )
}

describe.each(majors)('openai %s', (_major, { OpenAI, AzureOpenAI }) => {
  let client: Client
  beforeAll(() => {
    client = new OpenAI({ baseURL: `${stack.urls[0]}/v1`, apiKey: 'unused', maxRetries: 0 })
  })

  test('chats, whole and streamed, give the same answer', async () => {
    const body = { model: 'sim/chat', messages: messages() }
    const whole = await client.chat.completions.create(body)
    let text = ''
    let usage: unknown
    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    })
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]!.message.content)
    expect(usage).toEqual(whole.usage)
  })

  test('calls of tools stream', async () => {
    const body = { model: 'sim/chat', messages: messages('use a [[tool]]'), tools }
    const streamed = await client.chat.completions.stream(body).finalChatCompletion()
    const [call] = streamed.choices[0]!.message.tool_calls!
    expect(call).toMatchObject({ type: 'function', function: { name: 'find' } })
    const whole = await client.chat.completions.create(body)
    expect(whole.choices[0]!.message.tool_calls).toMatchObject([{ id: call!.id }])
  })

  test('responses are created, streamed, run in the background, retrieved and deleted', async () => {
    const input = fresh()
    const created = await client.responses.create({ model: 'sim/chat', input })
    expect((await client.responses.retrieve(created.id)).output_text).toBe(created.output_text)
    let streamed = ''
    for await (const event of await client.responses.create({ model: 'sim/chat', input, stream: true })) {
      if (event.type === 'response.output_text.delta') streamed += event.delta
    }
    expect(streamed).toBe(created.output_text)
    let background = await client.responses.create({ model: 'sim/chat', input: fresh(), background: true })
    while (background.status === 'queued' || background.status === 'in_progress') {
      background = await client.responses.retrieve(background.id)
    }
    expect(background.status).toBe('completed')
    await client.responses.delete(created.id)
    expect(await failureOf(client.responses.retrieve(created.id))).toBeInstanceOf(OpenAI.NotFoundError)
  })

  test('pictures come as bytes and by addresses, from one call', async () => {
    const body = { model: 'sim/chat', prompt: fresh('a picture'), n: 2 }
    const { data, usage } = await client.images.generate(body)
    expect(data!.map(({ b64_json }) => sniffMediaType(Buffer.from(b64_json!, 'base64')))).toEqual([
      'image/png',
      'image/png',
    ])
    expect(usage!.output_tokens).toBe(544)
    const linked = await client.images.generate({ ...body, response_format: 'url' }).withResponse()
    expect(linked.response.headers.get('x-cache')).toBe('hit')
    const picture = await fetch(linked.data.data![1]!.url!)
    expect(picture.headers.get('content-type')).toBe('image/png')
    expect(Buffer.from(await picture.arrayBuffer()).toString('base64')).toBe(data![1]!.b64_json)
    const job = await getJob(stack.urls[0]!, linked.response.headers.get('x-job-id')!)
    expect(job.result!.data).toMatchObject([
      { file_id: expect.stringMatching(/^file-/), content_type: 'image/png' },
      { file_id: expect.stringMatching(/^file-/), content_type: 'image/png' },
    ])
    expect(JSON.stringify(job.result)).not.toContain('b64_json')
    const [{ file_id: id }] = job.result!.data as [{ file_id: string }]
    const stored = await client.files.content(id)
    expect(Buffer.from(await stored.arrayBuffer()).toString('base64')).toBe(data![0]!.b64_json)
  })

  test('speech comes as bytes and as events', async () => {
    const body = { model: 'sim/chat', voice: 'alloy', input: fresh('say this') }
    const whole = await client.audio.speech.create(body)
    expect(whole.headers.get('content-type')).toBe('audio/mpeg')
    const bytes = Buffer.from(await whole.arrayBuffer())
    expect(sniffMediaType(bytes)).toBe('audio/mpeg')
    const events = await client.audio.speech.create({ ...body, stream_format: 'sse' })
    expect(events.headers.get('x-cache')).toBe('hit')
    const sent = (await events.text()).split('\n\n').flatMap((event) => {
      const data = /^data: (.*)$/m.exec(event)?.[1]
      return data === undefined ? [] : [JSON.parse(data) as { type: string; audio?: string }]
    })
    expect(sent.at(-1)!.type).toBe('speech.audio.done')
    expect(Buffer.concat(sent.map(({ audio }) => Buffer.from(audio ?? '', 'base64')))).toEqual(bytes)
    const wave = await client.audio.speech.create({ ...body, response_format: 'wav' })
    expect(sniffMediaType(Buffer.from(await wave.arrayBuffer()))).toBe('audio/wav')
  })

  test('pictures stream: partial ones as they come, the same again from the cache without them', async () => {
    const body = {
      model: 'sim/chat',
      prompt: fresh('a streamed picture'),
      stream: true as const,
      partial_images: 2,
    }
    const read = async () => {
      const { data: stream, response } = await client.images.generate(body).withResponse()
      const events: ImageGenStreamEvent[] = []
      for await (const event of stream) events.push(event)
      return { events, job: response.headers.get('x-job-id')!, cache: response.headers.get('x-cache') }
    }
    const first = await read()
    expect(first.events.map(({ type }) => type)).toEqual([
      'image_generation.partial_image',
      'image_generation.partial_image',
      'image_generation.completed',
    ])
    for (const { b64_json } of first.events) {
      expect(sniffMediaType(Buffer.from(b64_json, 'base64'))).toBe('image/png')
    }
    const again = await read()
    expect([again.cache, again.events.map(({ type }) => type)]).toEqual([
      'hit',
      ['image_generation.completed'],
    ])
    expect(again.events[0]!.b64_json).toBe(first.events[2]!.b64_json)
    const events = await (await fetch(`${stack.urls[0]}/v1/jobs/${first.job}/events`)).text()
    expect(events).toMatch(/"file_id":"file-[\s\S]*"file_id":"file-/)
    expect(events).not.toContain('b64_json')
  })

  test('pictures are edited, and equal files share one call', async () => {
    const image = new File([fresh('not much of a picture')], 'a.png', { type: 'image/png' })
    const mask = new File(['a mask'], 'mask.png', { type: 'image/png' })
    const edit = (files: File | File[]) =>
      client.images.edit({ model: 'sim/chat', prompt: 'make it blue', image: files, mask }).withResponse()
    const first = await edit(image)
    expect(sniffMediaType(Buffer.from(first.data.data![0]!.b64_json!, 'base64'))).toBe('image/png')
    const again = await edit([image])
    expect(again.response.headers.get('x-cache')).toBe('hit')
    expect(again.data.data![0]!.b64_json).toBe(first.data.data![0]!.b64_json)
    const two = await edit([image, new File(['another'], 'b.png')])
    expect(two.response.headers.get('x-cache')).toBe('miss')
  })

  test('sound is transcribed and translated in every form', async () => {
    const said = await client.audio.speech.create({
      ...{ model: 'sim/chat', voice: 'alloy', response_format: 'wav' },
      input: fresh('what is said').padEnd(60, '.'),
    })
    const sound = Buffer.from(await said.arrayBuffer())
    const file = new File([sound], 'said.wav')
    const ask = { model: 'sim/chat', file }
    const { text, usage } = await client.audio.transcriptions.create({ ...ask, response_format: 'json' })
    expect(text).toMatch(/^Answer /)
    expect(usage).toEqual({ type: 'duration', seconds: 2 })
    for (const format of ['text', 'srt', 'vtt'] as const) {
      const plain = await client.audio.transcriptions.create({ ...ask, response_format: format })
      expect(plain).toContain(text)
    }
    const verbose = await client.audio.transcriptions.create({ ...ask, response_format: 'verbose_json' })
    expect(verbose).toMatchObject({ text, duration: 1.2, language: 'english' })
    let streamed = ''
    const fresher = new File([sound, fresh()], 'b.wav')
    for await (const event of await client.audio.transcriptions.create({
      ...ask,
      file: fresher,
      stream: true,
    })) {
      if (event.type === 'transcript.text.delta') streamed += event.delta
      if (event.type === 'transcript.text.done') expect(event.text).toBe(streamed)
    }
    expect(streamed).toMatch(/^Answer /)
    const replayed = await client.audio.transcriptions.create({ ...ask, stream: true })
    let again = ''
    for await (const event of replayed) if (event.type === 'transcript.text.delta') again += event.delta
    expect(again).toMatch(/^Answer /)
    expect((await client.audio.translations.create({ ...ask, prompt: 'x' })).text).toMatch(/^Answer /)
  })

  test('embeddings come as numbers, by base64 and by float', async () => {
    const input = [fresh(), fresh()]
    const packed = await client.embeddings.create({ model: 'sim/embed', input })
    expect(packed.data.map(({ embedding }) => embedding.length)).toEqual([1536, 1536])
    const plain = await client.embeddings.create({ model: 'sim/embed', input, encoding_format: 'float' })
    expect(plain.data[1]!.embedding[7]).toBeCloseTo(packed.data[1]!.embedding[7]!, 6)
  })

  test('models are listed and found', async () => {
    const ids: string[] = []
    for await (const model of client.models.list()) ids.push(model.id)
    expect(ids).toEqual(expect.arrayContaining(['sim/chat', 'sim/embed']))
    expect(await client.models.retrieve('sim/chat')).toMatchObject({ id: 'sim/chat', object: 'model' })
  })

  test('a batch goes from its file to its results', async () => {
    const line = (id: string) =>
      JSON.stringify({
        custom_id: id,
        method: 'POST',
        url: '/v1/chat/completions',
        body: { model: 'sim/chat', messages: messages() },
      })
    const file = await client.files.create({
      file: new File([`${line('one')}\n${line('two')}\n`], 'in.jsonl'),
      purpose: 'batch',
    })
    let batch = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    })
    while (!['completed', 'failed'].includes(batch.status)) batch = await client.batches.retrieve(batch.id)
    expect(batch.request_counts).toEqual({ total: 2, completed: 2, failed: 0 })
    const text = await (await client.files.content(batch.output_file_id!)).text()
    expect(
      text
        .trim()
        .split('\n')
        .map((one) => JSON.parse(one).custom_id),
    ).toEqual(['one', 'two'])
    await client.files.delete(file.id)
  })

  test('text completions, whole, streamed and from the cache, give the same answer', async () => {
    const body = { model: 'sim/chat', prompt: fresh('Once'), max_tokens: 30, n: 2 }
    const read = async () => {
      const said = ['', '']
      let usage: unknown
      const stream = await client.completions.create({
        ...body,
        stream: true,
        stream_options: { include_usage: true },
      })
      for await (const chunk of stream) {
        for (const { index, text } of chunk.choices) said[index] += text
        usage = chunk.usage ?? usage
      }
      return { said, usage }
    }
    const streamed = await read()
    const whole = await client.completions.create(body)
    expect(whole.choices.map(({ text }) => text)).toEqual(streamed.said)
    expect(streamed.said[0]).not.toBe('')
    expect(await read()).toEqual({ said: streamed.said, usage: whole.usage })
    expect(streamed.usage).toEqual(whole.usage)
  })

  test('moderations', async () => {
    const input = [fresh('kind'), fresh('[[flag]] unkind')]
    const { results } = await client.moderations.create({ model: 'sim/chat', input })
    expect(results.map(({ flagged }) => flagged)).toEqual([false, true])
    // On a lane that coalesces, embeddings that come together share a request.
    const before = (await stack.simulator.calls()).length
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        client.moderations.create({
          model: 'sim/embed',
          input: fresh(index % 3 === 0 ? '[[flag]] unkind' : 'kind'),
        }),
      ),
    )
    expect(answers.map((answer) => answer.results.map(({ flagged }) => flagged))).toEqual(
      answers.map((_, index) => [index % 3 === 0]),
    )
    expect((await stack.simulator.calls()).length - before).toBeLessThan(12)
  })

  test('errors have their classes, with our messages and those of the provider', async () => {
    const missing = await failureOf(
      client.chat.completions.create({ model: 'sim/none', messages: messages() }),
    )
    expect(missing).toBeInstanceOf(OpenAI.NotFoundError)
    expect(missing).toMatchObject({ status: 404, code: 'model_not_found' })
    own.script = (_call, response) =>
      answer(response, 400, {
        error: { message: 'Too hot.', type: 'heat', param: 'temperature', code: 'hot' },
      })
    const refused = await failureOf(
      client.chat.completions.create({ model: 'own/model', messages: messages() }),
    )
    expect(refused).toBeInstanceOf(OpenAI.BadRequestError)
    expect(refused).toMatchObject({ param: 'temperature', code: 'hot' })
    own.script = (_call, response) => answer(response, 401, { error: { message: 'Wrong key.' } })
    const denied = await failureOf(
      client.chat.completions.create({ model: 'own/model', messages: messages() }),
    )
    expect(denied).toBeInstanceOf(OpenAI.AuthenticationError)
  })

  test('a stream that is slow to begin opens in time, and its failure is an error of the stream', async () => {
    const held = Promise.withResolvers<void>()
    own.script = async (_call, response) => {
      await held.promise
      answer(response, 400, { error: { message: 'Not today.' } })
    }
    const { data: stream, response } = await client.chat.completions
      .create({ model: 'own/model', messages: messages(), stream: true })
      .withResponse()
    expect(response.status).toBe(200)
    held.resolve()
    const failed = await failureOf(
      (async () => {
        for await (const _chunk of stream);
      })(),
    )
    expect(failed).toBeInstanceOf(OpenAI.APIError)
    expect(failed.message).toContain('Not today.')
  })

  test('a stream that breaks off fails', async () => {
    own.script = (_call, response) => {
      const events = openEvents(response)
      events.send({
        ...completion(''),
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta: { content: 'Hal' } }],
      })
      events.send({ error: { message: 'The machine is on fire.', code: 'fire' } })
      events.end()
    }
    const stream = await client.chat.completions.create({
      model: 'own/model',
      messages: messages(),
      stream: true,
    })
    const failed = await failureOf(
      (async () => {
        for await (const _chunk of stream);
      })(),
    )
    expect(failed.message).toContain('fire')
  })

  test('an idempotency key whose job failed says so, and retry-failed tries again', async () => {
    let status = 400
    own.script = (_call, response) =>
      status === 200
        ? answer(response, 200, completion('Now.'))
        : answer(response, status, { error: { message: 'Not yet.' } })
    const key = `key-${fresh()}`.replaceAll(' ', '-')
    const body = { model: 'own/model', messages: messages() }
    const send = (policy?: string) =>
      client.chat.completions
        .create(body, {
          headers: { 'idempotency-key': key, ...(policy ? { 'idempotency-key-policy': policy } : {}) },
          maxRetries: 2,
        })
        .withResponse()
    const first = await failureOf(send())
    const calls = own.calls.length
    const second = await failureOf(send())
    expect(own.calls).toHaveLength(calls)
    expect(second.message).toContain('Not yet. (This is the earlier failure of job job_')
    expect(second.headers.get('x-should-retry')).toBe('false')
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(second.headers.get('x-job-id')).toBe(first.headers.get('x-job-id'))
    status = 200
    const third = await send('retry-failed')
    expect(third.data.choices[0]!.message.content).toBe('Now.')
    expect(third.response.headers.get('x-job-id')).toBe(first.headers.get('x-job-id'))
    expect((await getJob(stack.urls[0]!, first.headers.get('x-job-id')!)).status).toBe('completed')
  })

  test("AzureOpenAI's paths name the model, and its header is a key", async () => {
    const azure = new AzureOpenAI({
      endpoint: stack.urls[0]!,
      apiKey: 'unused',
      apiVersion: '2025-04-01-preview',
      maxRetries: 0,
    })
    const body = { model: 'sim/chat', messages: messages() }
    const { data, response } = await azure.chat.completions.create(body).withResponse()
    expect(response.url).toContain('/openai/deployments/')
    expect(data.choices[0]!.message.content).toBeTypeOf('string')
    expect((await getJob(stack.urls[0]!, response.headers.get('x-job-id')!)).lane).toBe('sim/chat')
    const fixed = new AzureOpenAI({
      endpoint: stack.urls[0]!,
      apiKey: 'unused',
      apiVersion: '2025-04-01-preview',
      deployment: 'sim/embed',
      maxRetries: 0,
    })
    const vectors = await fixed.embeddings.create({ model: 'ignored', input: fresh() })
    expect(vectors.data[0]!.embedding).toHaveLength(1536)
    expect((await azure.responses.create({ model: 'sim/chat', input: fresh() })).status).toBe('completed')
  })
})

test('documents are ranked in the formats of Cohere and Jina, and each call is a job like any other', async () => {
  const body = {
    model: 'sim/chat',
    query: fresh('river in Saxony'),
    documents: ['A mountain.', { text: 'The Elbe, a river in Saxony.' }, 'A river.'],
    top_n: 2,
    return_documents: true,
  }
  const send = (path: string, value: object) =>
    fetch(`${stack.urls[0]}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(value),
    })
  const response = await send('/v1/rerank', body)
  const answered = (await response.json()) as { results: { index: number; document: object }[] }
  expect(answered.results.map(({ index }) => index)).toEqual([1, 2])
  expect(answered.results[0]!.document).toEqual({ text: 'The Elbe, a river in Saxony.' })
  const job = await getJob(stack.urls[0]!, response.headers.get('x-job-id')!)
  expect(job).toMatchObject({ type: 'rerank', status: 'completed', usage: { output_tokens: 0 } })
  expect((await send('/v1/rerank', body)).headers.get('x-cache')).toBe('hit')
  const { id } = (await (
    await send('/v1/jobs', { type: 'moderation', body: { model: 'sim/chat', input: 'x' } })
  ).json()) as {
    id: string
  }
  expect(await (await fetch(`${stack.urls[0]}/v1/jobs/${id}?wait=10`)).json()).toMatchObject({
    type: 'moderation',
    status: 'completed',
    result: { results: [{ flagged: false }] },
  })
})

test.each([
  ['/v1/rerank', { query: 'x', documents: [] }, 'documents'],
  ['/v1/rerank', { query: '', documents: ['x'] }, 'query'],
  ['/v1/completions', {}, 'prompt'],
  ['/v1/moderations', { input: [] }, 'input'],
])('%s refuses %j by the name of the member', async (path, members, param) => {
  const response = await fetch(`${stack.urls[0]}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sim/chat', ...members }),
  })
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ error: { code: 'invalid_request', param } })
})
