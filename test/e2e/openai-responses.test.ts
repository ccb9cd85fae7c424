import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { providerId, responseOf, textEvents } from '../helpers/responses.ts'
import { getJob, type Stack, startStack } from '../helpers/stack.ts'
import { until } from '../helpers/store.ts'
import { answer, openEvents, startUpstream, type Upstream } from '../helpers/upstream.ts'

type Response = OpenAI.Responses.Response
type StreamEvent = OpenAI.Responses.ResponseStreamEvent

let stack: Stack
let own: Upstream
let here: OpenAI
let there: OpenAI

beforeAll(async () => {
  own = await startUpstream()
  stack = await startStack({
    apis: 2,
    simulator: ['--output-tokens', '40'],
    extra: `
  own:
    kind: openai
    base_url: ${own.url}
    api_key: a-secret-of-the-provider
    retry: { max_attempts: 2, base: 10ms, cap: 20ms }
    models: { model: {} }`,
  })
  const open = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 })
  here = open(stack.urls[0]!)
  there = open(stack.urls[1]!)
})
afterAll(async () => {
  await own?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0, 0])
})
beforeEach(() => {
  own.calls.length = 0
})

let texts = 0
/** An input unlike any other, so that no answer is shared. */
const input = (text = 'hello') => `${text} ${++texts}`

async function failureOf(call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  return call.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => error,
  )
}
async function collect(stream: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  for await (const event of stream) events.push(event)
  return events
}
const numbersOf = (events: StreamEvent[]) =>
  events.map((event) => (event as { sequence_number: number }).sequence_number)
const textOf = (events: StreamEvent[]) =>
  events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')

/** Streams these events; the last of them when `hold` resolves. */
function stream(events: JsonObject[], hold = Promise.resolve()) {
  own.script = async (_call, response) => {
    const open = openEvents(response)
    for (const event of events.slice(0, -1)) open.send(event)
    await hold
    open.send(events.at(-1))
    open.end()
  }
}

describe('responses of the openai package', () => {
  test('are created, retrieved and followed by another', async () => {
    own.script = (_call, response) => answer(response, 200, responseOf('Hi.'))
    const body = { model: 'own/model', input: input(), temperature: 0, frobnicate: [{ deeply: null }] }
    const { data, response } = await here.responses.create(body).withResponse()
    expect(data.output_text).toBe('Hi.')
    expect(data).toMatchObject({ x_trace: [1, null], status: 'completed' })
    expect(data.id).toBe(response.headers.get('x-job-id')!.replace('job_', 'resp_'))
    expect(own.calls.map((call) => [call.path, call.body])).toEqual([
      ['/v1/responses', { ...body, model: 'model' }],
    ])
    expect(await there.responses.retrieve(data.id)).toEqual(data)
    expect((await here.responses.inputItems.list(data.id)).data).toMatchObject([
      { role: 'user', content: [{ type: 'input_text', text: body.input }] },
    ])
    const next = await there.responses.create({
      model: 'own/model',
      input: input(),
      previous_response_id: data.id,
    })
    expect(own.calls[1]!.body.previous_response_id).toBe(providerId)
    expect(next.previous_response_id).toBe(data.id)
    await there.responses.delete(data.id)
    expect(await failureOf(here.responses.retrieve(data.id))).toBeInstanceOf(OpenAI.NotFoundError)
  })

  test('stream the same text as in one piece', async () => {
    const body = { model: 'sim/chat', input: input() }
    const events = await collect(await here.responses.create({ ...body, stream: true }))
    expect(numbersOf(events)).toEqual(events.map((_, index) => index))
    const whole = await there.responses.create(body).withResponse()
    expect(whole.response.headers.get('x-cache')).toBe('hit')
    expect(textOf(events)).toBe(whole.data.output_text)
    expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { usage: whole.data.usage } })
  })

  test('work with the stream helper, live and from the cache', async () => {
    const body = { model: 'sim/chat', input: input() }
    const live = await here.responses.stream(body).finalResponse()
    const replayed = await there.responses.stream(body).finalResponse()
    expect(live.output_text).not.toBe('')
    expect({ ...replayed, id: live.id }).toEqual(live)
  })

  test('call tools, and show their arguments as they come', async () => {
    const call = {
      id: 'fc_own',
      type: 'function_call',
      status: 'completed',
      call_id: 'call_own',
      name: 'find',
      arguments: '{"query":"a rather long query, so that it is cut into more than one piece of text"}',
    }
    own.script = (_call, response) => answer(response, 200, responseOf([call]))
    const tools: OpenAI.Responses.Tool[] = [
      { type: 'function', name: 'find', parameters: { type: 'object', properties: {} }, strict: false },
    ]
    const body = { model: 'own/model', input: input(), tools }
    const whole = await here.responses.create(body)
    expect(whole.output).toMatchObject([call])
    const pieces: string[] = []
    const streamed = await there.responses
      .stream(body)
      .on('response.function_call_arguments.delta', ({ delta }) => pieces.push(delta))
      .finalResponse()
    expect(streamed.output).toMatchObject([call])
    expect(pieces.length).toBeGreaterThan(1)
    expect(pieces.join('')).toBe(call.arguments)
    expect(own.calls.map((one) => one.body.tools)).toEqual([tools])
  })

  test('parse structured outputs', async () => {
    const river = z.object({ name: z.string(), length: z.number() })
    own.script = (_call, response) => answer(response, 200, responseOf('{"name":"Aare","length":288.2}'))
    const text = { format: zodTextFormat(river, 'river') }
    const parsed = await here.responses.parse({ model: 'own/model', input: input(), text })
    expect(parsed.output_parsed).toEqual({ name: 'Aare', length: 288.2 })
    expect(own.calls[0]!.body.text).toEqual(JSON.parse(JSON.stringify(text)))
  })

  test('fail as the provider says', async () => {
    const error = await failureOf(here.responses.create({ model: 'sim/chat', input: input('[[poison]]') }))
    expect(error).toBeInstanceOf(OpenAI.BadRequestError)
    expect(error.param).toBe('input')
  })
})

describe('responses in the background', () => {
  /** Asks until the response has ended. */
  async function poll(client: OpenAI, id: string): Promise<Response> {
    let response = await client.responses.retrieve(id)
    const seen = [response.status]
    while (response.status === 'queued' || response.status === 'in_progress') {
      response = await client.responses.retrieve(id)
      if (response.status !== seen.at(-1)) seen.push(response.status)
    }
    return response
  }

  test('are fetched when they are done, from any process', async () => {
    const hold = Promise.withResolvers<void>()
    own.script = async (_call, response) => {
      await hold.promise
      answer(response, 200, responseOf('Hi.'))
    }
    const queued = await here.responses.create({ model: 'own/model', input: input(), background: true })
    expect(queued).toMatchObject({ status: 'queued', background: true, output_text: '' })
    await until(async () => (await there.responses.retrieve(queued.id)).status === 'in_progress')
    hold.resolve()
    const done = await poll(there, queued.id)
    expect(done).toMatchObject({ id: queued.id, status: 'completed', output_text: 'Hi.', background: true })
    // The background is ours; the provider's request is an ordinary one.
    expect(own.calls[0]!.body).not.toHaveProperty('background')
  })

  test('report that they failed', async () => {
    const { id } = await here.responses.create({
      model: 'sim/chat',
      input: input('[[poison]]'),
      background: true,
    })
    const failed = await poll(there, id)
    expect([failed.status, failed.error]).toEqual([
      'failed',
      { code: expect.anything(), message: expect.any(String) },
    ])
  })

  test('are streamed, left, and followed from the same place, by another process', async () => {
    const hold = Promise.withResolvers<void>()
    const events = textEvents(['Zür', 'ich ', 'is ', 'here.'])
    stream(events, hold.promise)
    const begun = await here.responses.create({
      model: 'own/model',
      input: input(),
      background: true,
      stream: true,
    })
    const seen: StreamEvent[] = []
    for await (const event of begun) {
      seen.push(event)
      if (event.type === 'response.output_text.delta') break // This closes the connection.
    }
    const { id } = (seen[0] as OpenAI.Responses.ResponseCreatedEvent).response
    const starting_after = numbersOf(seen).at(-1)!
    const resumed = collect(await there.responses.retrieve(id, { stream: true, starting_after }))
    hold.resolve()
    const all = [...seen, ...(await resumed)]
    expect(numbersOf(all)).toEqual(all.map((_, index) => index))
    expect(textOf(all)).toBe('Zürich is here.')
    expect(all.at(-1)).toMatchObject({
      type: 'response.completed',
      response: { id, status: 'completed', background: true },
    })
    expect(own.calls.length).toBe(1)
    // Over, and still the same.
    expect(await collect(await here.responses.retrieve(id, { stream: true, starting_after: 3 }))).toEqual(
      all.slice(4),
    )
    const replayed = await there.responses.stream({ response_id: id }).finalResponse()
    expect(replayed.output_text).toBe('Zürich is here.')
    expect((await here.responses.retrieve(id)).output_text).toBe('Zürich is here.')
  })

  test('are cancelled, with the call upstream', async () => {
    own.script = () => {}
    const { id } = await here.responses.create({ model: 'own/model', input: input(), background: true })
    await until(() => own.calls.length === 1)
    expect(await there.responses.cancel(id)).toMatchObject({ id, status: 'cancelled' })
    await own.broken()
    expect(await here.responses.cancel(id)).toMatchObject({ id, status: 'cancelled' })
    expect(await getJob(stack.urls[0]!, id.replace('resp_', 'job_'))).toMatchObject({ status: 'cancelled' })

    own.script = (_call, response) => answer(response, 200, responseOf('Hi.'))
    const plain = await here.responses.create({ model: 'own/model', input: input() })
    expect(await failureOf(there.responses.cancel(plain.id))).toBeInstanceOf(OpenAI.BadRequestError)
  })
})

describe('streams that fail', () => {
  test('before anything of the answer was sent are tried again, invisible to the client', async () => {
    own.script = (_call, response) => {
      const open = openEvents(response)
      const events = textEvents(['Hel', 'lo'])
      for (const event of own.calls.length === 1 ? events.slice(0, 2) : events) open.send(event)
      open.end()
    }
    const events = await collect(
      await here.responses.create({ model: 'own/model', input: input(), stream: true }),
    )
    expect([textOf(events), own.calls.length]).toEqual(['Hello', 2])
    expect(numbersOf(events)).toEqual(events.map((_, index) => index))
    expect(events.filter(({ type }) => type === 'response.created').length).toBe(1)
  })

  test.each(['truncated', 'error', 'failed'])('after their first event raise (%s)', async (kind) => {
    own.script = (_call, response) => {
      const open = openEvents(response)
      for (const event of textEvents(['Hel', 'lo']).slice(0, 5)) open.send(event)
      const error = { code: 'server_error', message: 'Lost it.' }
      // Not at once, so that the events are sent before the end.
      setTimeout(() => {
        if (kind === 'error') open.send({ type: 'error', sequence_number: 1, param: null, ...error })
        if (kind === 'failed')
          open.send({ type: 'response.failed', response: responseOf([], { status: 'failed', error }) })
        open.end()
      }, 100)
    }
    const { data, response } = await here.responses
      .create({ model: 'own/model', input: input(), stream: true })
      .withResponse()
    const seen: StreamEvent[] = []
    const error = await failureOf(
      (async () => {
        for await (const event of data) seen.push(event)
      })(),
    )
    expect(error).toBeInstanceOf(OpenAI.APIError)
    expect(error.code).toBe(kind === 'truncated' ? 'truncated_stream' : 'server_error')
    expect(textOf(seen)).toBe('Hel')
    expect(seen.at(-1)!.type).toBe(kind === 'failed' ? 'response.failed' : 'response.output_text.delta')
    const id = response.headers.get('x-job-id')!
    await expect.poll(async () => (await getJob(stack.urls[0]!, id)).status).toBe('failed')
    expect(own.calls.length).toBe(1)
  })

  test('after their first event fail the helper too', async () => {
    own.script = (_call, response) => {
      const open = openEvents(response)
      for (const event of textEvents(['Hel', 'lo']).slice(0, 5)) open.send(event)
      setTimeout(() => open.end(), 100)
    }
    const helper = here.responses.stream({ model: 'own/model', input: input() })
    const error = await failureOf(helper.finalResponse())
    expect([error instanceof OpenAI.APIError, error.code]).toEqual([true, 'truncated_stream'])
  })
})

test('a client that goes away cancels its response and the call upstream', async () => {
  const leaving = new AbortController()
  own.script = (_call, response) => {
    const open = openEvents(response)
    for (const event of textEvents(['Hel', 'lo']).slice(0, 5)) open.send(event)
  }
  const { data, response } = await here.responses
    .create({ model: 'own/model', input: input(), stream: true }, { signal: leaving.signal })
    .withResponse()
  for await (const event of data) if (event.type === 'response.output_text.delta') break
  leaving.abort()
  await own.broken()
  const id = response.headers.get('x-job-id')!
  await expect.poll(async () => (await getJob(stack.urls[0]!, id)).status).toBe('cancelled')
})
