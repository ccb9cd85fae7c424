import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { getJob, post, type Stack, startStack, waitForJob } from '../helpers/stack.ts'
import { until } from '../helpers/store.ts'
import { answer, chunk, completion, openEvents, startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
let own: Upstream
let here = ''
let there = ''

beforeAll(async () => {
  own = await startUpstream()
  stack = await startStack({
    apis: 2,
    extra: `
  own: { kind: openai-compatible, base_url: "${own.url}", models: { model: {} } }`,
  })
  ;[here, there] = stack.urls as [string, string]
})
afterAll(async () => {
  await own?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0, 0])
})
beforeEach(() => {
  own.calls.length = 0
})

let texts = 0
/** A body unlike any other. */
const newBody = (members: JsonObject = {}): JsonObject => ({
  model: 'own/model',
  messages: [{ role: 'user', content: `hello ${++texts}` }],
  ...members,
})
const ask = (url: string, body: JsonObject, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })

/** The data of each event of a stream, in order. Anything that is not a data event or a comment fails. */
function parseStream(text: string): string[] {
  const blocks = text.split('\n\n')
  expect(blocks.pop()).toBe('')
  return blocks
    .filter((block) => !block.startsWith(':'))
    .map((block) => {
      expect(block).toMatch(/^data: [^\n]+$/)
      return block.slice('data: '.length)
    })
}

/** The text of its chunks. */
const join = (datas: string[]) =>
  datas
    .slice(0, -1)
    .flatMap((data) => (JSON.parse(data).choices as { delta: { content?: string } }[]) ?? [])
    .map(({ delta }) => delta.content ?? '')
    .join('')

const chunks = [
  chunk({ role: 'assistant', content: '' }, null, { x_first: true }),
  chunk({ content: 'Zür' }, null, { obfuscation: 'abc' }),
  chunk({ content: 'ich 🏔️' }),
  chunk({}, 'stop'),
]
const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
const usageChunk = { ...chunk({}), choices: [], usage }

test('a stream is the chunks of the provider in their order, then [DONE]', async () => {
  own.script = (_call, response) => {
    const events = openEvents(response)
    for (const one of [...chunks, usageChunk, '[DONE]']) events.send(one)
    events.end()
  }
  const response = await ask(here, newBody({ stream: true }))
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(response.headers.get('x-cache')).toBe('miss')
  const expected = [...chunks.map((one) => JSON.stringify(one)), '[DONE]']
  expect(parseStream(await response.text())).toEqual(expected)

  const asked = await ask(there, newBody({ stream: true, stream_options: { include_usage: true } }))
  expected.splice(-1, 0, JSON.stringify(usageChunk))
  expect(parseStream(await asked.text())).toEqual(expected)
  // Usage is requested in both cases: the job's costs are counted.
  expect(own.calls.map((call) => call.body.stream_options)).toEqual([
    { include_usage: true },
    { include_usage: true },
  ])
  expect(await getJob(here, response.headers.get('x-job-id')!)).toMatchObject({ usage: { total_tokens: 7 } })
})

test('chunks go out as they come', async () => {
  const next = Promise.withResolvers<void>()
  own.script = async (_call, response) => {
    const events = openEvents(response)
    events.send(chunks[0])
    await next.promise
    for (const one of [...chunks.slice(1), '[DONE]']) events.send(one)
    events.end()
  }
  const response = await ask(here, newBody({ stream: true }))
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  const first = await reader.read()
  expect(first.value).toBe(`data: ${JSON.stringify(chunks[0])}\n\n`)
  next.resolve()
  let rest = ''
  for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value
  expect(parseStream(rest)).toEqual([...chunks.slice(1).map((one) => JSON.stringify(one)), '[DONE]'])
})

test('an answer of the cache is replayed as a stream', async () => {
  const whole = completion(
    'A rather long answer, in which 🏔️ stands. '.repeat(20),
    { annotations: [] },
    { x_trace: 1 },
  )
  own.script = (_call, response) => answer(response, 200, whole)
  const body = newBody()
  expect(await (await ask(here, body)).json()).toEqual(whole)
  const response = await ask(there, { ...body, stream: true, stream_options: { include_usage: true } })
  expect(response.headers.get('x-cache')).toBe('hit')
  const datas = parseStream(await response.text())
  expect(datas.at(-1)).toBe('[DONE]')
  expect(datas.length).toBeGreaterThan(10)
  expect(join(datas)).toBe((whole.choices as { message: { content: string } }[])[0]!.message.content)
  const members = datas.slice(0, -1).map((data) => JSON.parse(data))
  for (const one of members) {
    expect(one).toMatchObject({
      id: whole.id,
      object: 'chat.completion.chunk',
      created: whole.created,
      model: whole.model,
      x_trace: 1,
    })
  }
  expect(members[0].choices).toEqual([
    {
      index: 0,
      delta: { role: 'assistant', content: '', annotations: [] },
      logprobs: null,
      finish_reason: null,
    },
  ])
  expect(members.at(-2).choices[0]).toMatchObject({ delta: {}, finish_reason: 'stop' })
  expect(members.slice(0, -1).every((one) => one.usage === null)).toBe(true)
  expect(members.at(-1)).toMatchObject({ choices: [], usage: whole.usage })

  const quiet = parseStream(await (await ask(here, { ...body, stream: true })).text())
  expect(quiet.some((data) => data.includes('usage'))).toBe(false)
  expect(own.calls.length).toBe(1)
})

test('one call serves two equal streams at once, over two processes', async () => {
  const release = Promise.withResolvers<void>()
  own.script = async (_call, response) => {
    const events = openEvents(response)
    events.send(chunks[0])
    await release.promise
    for (const one of [...chunks.slice(1), '[DONE]']) events.send(one)
    events.end()
  }
  const body = newBody({ stream: true })
  const first = await ask(here, body)
  const second = ask(there, body)
  await until(async () => (await listJobs()).some((job) => job.cache === 'shared'))
  release.resolve()
  const texts = [parseStream(await first.text()), parseStream(await (await second).text())]
  expect(texts.map(join)).toEqual(['Zürich 🏔️', 'Zürich 🏔️'])
  expect([first, await second].map((response) => response.headers.get('x-cache'))).toEqual(['miss', 'shared'])
  expect(own.calls.length).toBe(1)
})

test('a stream gets the answer that another client asked for in one piece, when it is there', async () => {
  const release = Promise.withResolvers<void>()
  own.script = async (_call, response) => {
    await release.promise
    answer(response, 200, completion('whole'))
  }
  const body = newBody()
  const first = ask(here, body)
  await until(() => own.calls.length === 1)
  const second = ask(there, { ...body, stream: true })
  await until(async () => (await listJobs()).some((job) => job.cache === 'shared'))
  release.resolve()
  expect(join(parseStream(await (await second).text()))).toBe('whole')
  expect(((await (await first).json()) as JsonObject).id).toBe('chatcmpl-own')
  expect(own.calls.length).toBe(1)
})

test('a follower of a stream whose client goes away keeps the call for itself', async () => {
  const release = Promise.withResolvers<void>()
  own.script = async (_call, response) => {
    const events = openEvents(response)
    events.send(chunks[0])
    await release.promise
    for (const one of [...chunks.slice(1), '[DONE]']) events.send(one)
    events.end()
  }
  const body = newBody({ stream: true })
  const first = await ask(here, body)
  const second = ask(there, body)
  await until(async () => (await listJobs()).some((job) => job.cache === 'shared'))
  await first.body!.cancel()
  await until(async () => (await getJob(here, first.headers.get('x-job-id')!)).status === 'cancelled')
  release.resolve()
  expect(join(parseStream(await (await second).text()))).toBe('Zürich 🏔️')
  expect(own.calls.length).toBe(1)
})

test('a follower of a stream that fails midway gets a call of its own', async () => {
  const release = Promise.withResolvers<void>()
  own.script = async (_call, response) => {
    const events = openEvents(response)
    events.send(chunks[0])
    if (own.calls.length > 1) for (const one of [...chunks.slice(1), '[DONE]']) events.send(one)
    else await release.promise
    events.end()
  }
  const body = newBody({ stream: true })
  const first = await ask(here, body)
  const second = ask(there, body)
  await until(async () => (await listJobs()).some((job) => job.cache === 'shared'))
  release.resolve()
  const datas = parseStream(await first.text())
  expect(datas.map((data) => JSON.parse(data))).toEqual([
    chunks[0],
    { error: expect.objectContaining({ code: 'truncated_stream' }) },
  ])
  expect(join(parseStream(await (await second).text()))).toBe('Zürich 🏔️')
  expect((await second).headers.get('x-cache')).toBe('miss')
  expect(own.calls.length).toBe(2)
})

const ended = (message: JsonObject, finish_reason: string): JsonObject => {
  const whole = completion('')
  const [choice] = whole.choices as JsonObject[]
  return { ...whole, choices: [{ ...choice, message: { role: 'assistant', ...message }, finish_reason }] }
}

test.each<[string, JsonObject, string]>([
  ['filtered', { content: 'So much' }, 'content_filter'],
  ['filtered in words of its own', { content: 'So much' }, 'sensitive'],
  ['empty', { content: '' }, 'stop'],
  ['blank', { content: ' \n' }, 'stop'],
  ['nothing but thoughts', { content: null, reasoning_content: 'Hm.' }, 'stop'],
])(
  'an answer that is %s is passed on, and the next request buys it again, in one piece and streamed',
  async (_, message, finish) => {
    const whole = ended(message, finish)
    own.script = ({ body }, response) => {
      if (body.stream !== true) return answer(response, 200, whole)
      const events = openEvents(response)
      for (const one of [chunk({ role: 'assistant', ...message }), chunk({}, finish), '[DONE]'])
        events.send(one)
      events.end()
    }
    const body = newBody()
    const first = await ask(here, body)
    expect([first.status, await first.json()]).toEqual([200, whole])
    const streamed = await ask(there, { ...body, stream: true })
    expect(parseStream(await streamed.text()).at(-1)).toBe('[DONE]')
    const last = await ask(here, body)
    expect([first, streamed, last].map(({ headers }) => headers.get('x-cache'))).toEqual([
      'miss',
      'miss',
      'miss',
    ])
    expect(own.calls.length).toBe(3)
  },
)

test.each<[string, JsonObject | string]>([
  ['an object', { error: { message: 'out of luck', type: 'server_error', code: 'luck' } }],
  ['flat words', { object: 'error', message: 'out of luck', type: 'server_error', code: 'luck' }],
  ['a text', { error: 'out of luck' }],
  ['a detail', { detail: 'out of luck' }],
  ['a choice', { ...chunk({}), choices: [{ index: 0, error: { message: 'out of luck' }, delta: {} }] }],
])('an error inside a stream, as %s, is sent once and ends it', async (_, said) => {
  own.script = (_call, response) => {
    const events = openEvents(response)
    for (const one of [chunks[0], chunks[1], said, '[DONE]']) events.send(one)
    events.end()
  }
  const body = newBody({ stream: true })
  const response = await ask(here, body)
  const datas = parseStream(await response.text()).map((data) => JSON.parse(data))
  const told = { error: expect.objectContaining({ message: expect.stringContaining('out of luck') }) }
  expect(datas).toEqual([chunks[0], chunks[1], told])
  expect(own.calls.length).toBe(1)
  const job = await getJob(here, response.headers.get('x-job-id')!)
  expect(job).toMatchObject({ status: 'failed', error: { message: expect.stringContaining('out of luck') } })

  own.script = (_call, again) => answer(again, 200, completion('better'))
  expect((await ask(there, { ...body, stream: false })).headers.get('x-cache')).toBe('miss')
})

test('Cache-Control requests a new answer, or keeps out of the cache', async () => {
  let answers = 0
  own.script = (_call, response) => answer(response, 200, completion(`answer ${++answers}`))
  const body = newBody()
  const read = async (cacheControl?: string) => {
    const response = await ask(here, body, cacheControl ? { 'cache-control': cacheControl } : {})
    const { choices } = (await response.json()) as { choices: { message: { content: string } }[] }
    return [response.headers.get('x-cache'), choices[0]!.message.content]
  }
  expect(await read()).toEqual(['miss', 'answer 1'])
  expect(await read()).toEqual(['hit', 'answer 1'])
  expect(await read('no-store')).toEqual(['off', 'answer 2'])
  expect(await read()).toEqual(['hit', 'answer 1'])
  expect(await read('max-age=0, no-cache')).toEqual(['miss', 'answer 3'])
  expect(await read()).toEqual(['hit', 'answer 3'])
})

test('Prefer: respond-async answers with the job, at once', async () => {
  own.script = (_call, response) => answer(response, 200, completion('later'))
  const body = newBody({ stream: true })
  const response = await ask(here, body, { prefer: 'respond-async' })
  const job = (await response.json()) as Job
  expect(response.status).toBe(202)
  expect(job).toMatchObject({ object: 'job', type: 'chat', model: 'own/model' })
  expect(Object.fromEntries(response.headers)).toMatchObject({
    location: `/v1/jobs/${job.id}`,
    'preference-applied': 'respond-async',
    'x-job-id': job.id,
    'x-cache': 'miss',
  })
  expect(await waitForJob(there, job.id)).toMatchObject({ status: 'completed', result: completion('later') })
  const embedding = await post(here, '/v1/embeddings', { model: 'sim/embed', input: 'x' })
  expect(embedding.status).toBe(200)
})

test('with an Idempotency-Key the same request is the same job, and with another body it is refused', async () => {
  own.script = (_call, response) => answer(response, 200, completion('once'))
  const body = newBody()
  const headers = { 'idempotency-key': `key-${body.messages}-${texts}`, 'cache-control': 'no-store' }
  const responses = [await ask(here, body, headers), await ask(there, body, headers)]
  const ids = responses.map((response) => response.headers.get('x-job-id'))
  expect(ids[1]).toBe(ids[0])
  expect(await Promise.all(responses.map((response) => response.json()))).toEqual([
    completion('once'),
    completion('once'),
  ])
  expect(own.calls.length).toBe(1)
  for (const other of [newBody(), { ...body, stream: true }]) {
    const refused = await ask(here, other, headers)
    expect([refused.status, ((await refused.json()) as JsonObject).error]).toMatchObject([
      422,
      { code: 'idempotency_key_reused', param: 'Idempotency-Key' },
    ])
  }
})

async function listJobs(): Promise<Job[]> {
  const response = await fetch(`${here}/v1/jobs?limit=2`)
  return ((await response.json()) as { data: Job[] }).data
}
