import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { acmeKey, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'
import type { Running } from '../../helpers/api-worker.ts'
import { parseEvents, providerId, responseOf, textEvents } from '../../helpers/responses.ts'
import { until } from '../../helpers/store.ts'

let api: TestApi
let url = ''
beforeEach(async () => {
  api = await createTestApi({ limits: { heartbeat: 30 } })
  url = await api.listen()
})
afterEach(() => api.close())

let texts = 0
/** A request unlike any other. */
const ask = (members: JsonObject = {}, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'openai/small', input: `hello ${++texts}`, ...members }),
    ...(signal ? { signal } : {}),
  })
const read = async (response: Response) => (await response.json()) as JsonObject
const get = (id: unknown, query = '') => fetch(`${url}/v1/responses/${id}${query}`)
const cancel = (id: unknown) => fetch(`${url}/v1/responses/${id}/cancel`, { method: 'POST' })
const follow = async (id: unknown, after?: number) =>
  parseEvents(
    await (await get(id, `?stream=true${after === undefined ? '' : `&starting_after=${after}`}`)).text(),
  )
const errorOf = async (response: Response) => [
  response.status,
  ((await response.json()) as { error: JsonObject }).error,
]
const statusOf = ({ claimed }: Running) => api.redis.hget(`${api.root()}:job:${claimed.id}`, 'status')
const typesOf = (events: JsonObject[]) => events.map((event) => event.type)
const idOf = ({ claimed }: Running) => claimed.id.replace('job_', 'resp_')

const events = textEvents(['Zür', 'ich 🏔️'])
const whole = events.at(-1)!.response as JsonObject
/** What a client sees of a provider's event. */
const shown = (event: JsonObject, number: number, id: string, members: JsonObject = {}): JsonObject => ({
  ...event,
  sequence_number: number,
  ...(event.response ? { response: { ...(event.response as JsonObject), id, ...members } } : {}),
})

describe('a response', () => {
  it("is the provider's except for its id, which names the job", async () => {
    const asked = ask()
    const running = await api.worker.next()
    await api.worker.complete(running, { result: responseOf('Hello') })
    const response = await asked
    expect(response.headers.get('x-job-id')).toBe(running.claimed.id)
    expect(response.headers.get('x-cache')).toBe('miss')
    const mine = { ...responseOf('Hello'), id: idOf(running) }
    expect(await read(response)).toEqual(mine)
    const again = await get(mine.id)
    expect([again.headers.get('x-job-id'), again.headers.get('x-cache')]).toEqual([
      running.claimed.id,
      'miss',
    ])
    expect(await read(again)).toEqual(mine)
    const job = await read(await fetch(`${url}/v1/jobs/${running.claimed.id}`))
    expect(job.result).toEqual(responseOf('Hello'))
  })

  it('is continued by naming it: the provider gets its own id, the client sees the one it gave', async () => {
    const first = ask()
    await api.worker.complete(await api.worker.next(), { result: responseOf('Hello') })
    const { id } = await read(await first)
    const second = ask({ input: 'and then?', previous_response_id: id! })
    const running = await api.worker.next()
    expect(running.claimed.body.previous_response_id).toBe(providerId)
    const result = responseOf('Then.', { id: 'resp_second', previous_response_id: providerId })
    await api.worker.complete(running, { result })
    expect(await read(await second)).toEqual({ ...result, id: idOf(running), previous_response_id: id })
    expect(await read(await get(idOf(running)))).toMatchObject({ previous_response_id: id })
    // It depends on state at the provider, so the same again is another call.
    const third = ask({ input: 'and then?', previous_response_id: providerId })
    await api.worker.complete(await api.worker.next(), { result })
    expect((await third).headers.get('x-cache')).toBe('off')
    expect(await read(await third)).toMatchObject({ previous_response_id: providerId })
  })

  it('cannot follow one that is unknown, unfinished, or another kind of job', async () => {
    const open = await read(await ask({ background: true }))
    const chat = await read(
      await fetch(`${url}/v1/jobs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          type: 'chat',
          body: { model: 'openai/small', messages: [{ role: 'user', content: 'x' }] },
        }),
      }),
    )
    const ids = [
      open.id,
      String(chat.id).replace('job_', 'resp_'),
      `resp_${'0'.repeat(12)}7${'0'.repeat(3)}8${'0'.repeat(15)}`,
    ]
    for (const id of ids) {
      expect(await errorOf(await ask({ previous_response_id: id! }))).toMatchObject([
        400,
        { code: 'invalid_request', param: 'previous_response_id' },
      ])
    }
  })

  it('lists its input', async () => {
    const { id } = await read(
      await ask({
        background: true,
        input: [
          { role: 'user', content: 'one' },
          { type: 'function_call_output', call_id: 'c', output: 'two' },
          { id: 'msg_x', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'three' }] },
        ],
      }),
    )
    const list = async (query: string) => read(await get(id, `/input_items${query}`))
    const all = await list('?order=asc')
    expect(all).toMatchObject({
      object: 'list',
      has_more: false,
      last_id: 'msg_x',
      data: [
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'one' }] },
        { type: 'function_call_output', call_id: 'c', output: 'two' },
        { id: 'msg_x' },
      ],
    })
    const newest = await list('?limit=2')
    expect(newest).toMatchObject({ first_id: 'msg_x', has_more: true })
    const rest = await list(`?after=${newest.last_id}`)
    expect(rest).toMatchObject({ has_more: false, first_id: all.first_id, data: [{ role: 'user' }] })
  })
})

describe('a response in the background', () => {
  it('is answered at once, and goes through its states without its client', async () => {
    const metadata = { topic: 'rivers' }
    const response = await ask({ background: true, metadata, instructions: 'Be brief.' })
    const queued = await read(response)
    expect([response.status, response.headers.get('x-job-id')]).toEqual([
      200,
      String(queued.id).replace('resp_', 'job_'),
    ])
    expect(queued).toMatchObject({
      object: 'response',
      status: 'queued',
      background: true,
      model: 'openai/small',
      output: [],
      error: null,
      metadata,
      instructions: 'Be brief.',
    })
    expect(queued.created_at).toBeCloseTo(Date.now() / 1000, -2)
    const running = await api.worker.next()
    expect(await read(await get(queued.id))).toEqual({ ...queued, status: 'in_progress' })
    await api.worker.complete(running, { result: responseOf('Hello') })
    expect(await read(await get(queued.id))).toEqual({
      ...responseOf('Hello'),
      id: queued.id,
      background: true,
    })
  })

  it('shares its answer with one in the foreground', async () => {
    const input = 'the same'
    const asked = ask({ input })
    const open = await api.worker.next()
    const behind = await ask({ input, background: true })
    expect(behind.headers.get('x-cache')).toBe('shared')
    await api.worker.complete(open, { result: responseOf('Hello') })
    expect(await read(await asked)).toMatchObject({ background: false })
    const { id } = await read(behind)
    await until(async () => (await read(await get(id))).status === 'completed')
    expect((await get(id)).headers.get('x-cache')).toBe('shared')
    const third = await ask({ input, background: true })
    expect(third.headers.get('x-cache')).toBe('hit')
    expect(await read(third)).toMatchObject({ status: 'completed', background: true })
  })

  it('says that it failed, and why', async () => {
    const { id } = await read(await ask({ background: true }))
    await api.worker.fail(await api.worker.next(), {
      provider_error: { message: 'Too hot.', code: 'heat', type: 'server_error' },
    })
    const response = await get(id)
    expect([response.status, await read(response)]).toMatchObject([
      200,
      { id, status: 'failed', background: true, error: { code: 'heat', message: 'Too hot.' }, output: [] },
    ])
  })

  it("is incomplete where the provider's is", async () => {
    const { id } = await read(await ask({ background: true }))
    const incomplete_details = { reason: 'max_output_tokens' }
    await api.worker.complete(await api.worker.next(), {
      result: responseOf('Hel', { status: 'incomplete', incomplete_details }),
    })
    expect(await read(await get(id))).toMatchObject({ status: 'incomplete', incomplete_details })
  })

  it('is cancelled on request, and keeps its state after its end', async () => {
    const { id } = await read(await ask({ background: true }))
    const running = await api.worker.next()
    const cancelled = await cancel(id)
    expect([cancelled.status, await read(cancelled)]).toMatchObject([200, { id, status: 'cancelled' }])
    expect(await statusOf(running)).toBe('cancelled')
    expect(await read(await cancel(id))).toMatchObject({ status: 'cancelled' })
    const other = await read(await ask({ background: true }))
    await api.worker.complete(await api.worker.next(), { result: responseOf('Hello') })
    expect(await read(await cancel(other.id))).toMatchObject({ status: 'completed', output: [{}] })
  })

  it('stays cancelled when the same request comes again', async () => {
    const headers = { 'idempotency-key': 'the-key' }
    const body = { background: true, input: 'the same' }
    const { id } = await read(await ask(body, headers))
    await cancel(id)
    expect(await read(await ask(body, headers))).toMatchObject({ id, status: 'cancelled' })
    expect(await errorOf(await ask({ ...body, background: false }, headers))).toMatchObject([
      422,
      { code: 'idempotency_key_reused' },
    ])
  })

  it('has to be stored', async () => {
    expect(await errorOf(await ask({ background: true, store: false }))).toMatchObject([
      400,
      { code: 'invalid_request', param: 'store' },
    ])
  })

  it('only it can be cancelled', async () => {
    const asked = ask()
    const running = await api.worker.next()
    expect(await errorOf(await cancel(idOf(running)))).toMatchObject([400, { code: 'invalid_request' }])
    await api.worker.complete(running, { result: responseOf('Hello') })
    expect((await asked).status).toBe(200)
  })

  it('is a job for a client that prefers one', async () => {
    const response = await ask({ background: true, stream: true }, { prefer: 'respond-async' })
    expect([response.status, await read(response)]).toMatchObject([202, { object: 'job', type: 'response' }])
  })
})

describe('a stream', () => {
  it("is the provider's events with our id and numbers from 0, and the last of them comes with the end of the job", async () => {
    const asked = ask({ stream: true })
    const running = await api.worker.next()
    await api.worker.stream(running, events)
    const response = await asked
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    // Silence, though the provider has sent everything.
    while (!/response\.output_item\.done.*: keep-alive\n/s.test(text)) text += (await reader.read()).value
    expect(text).not.toContain('response.completed')
    await api.worker.complete(running, { result: whole })
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    const expected = events.map((event, index) => shown(event, index, idOf(running)))
    expect(parseEvents(text)).toEqual(expected)
    expect(text).not.toContain('[DONE]')
    const first = JSON.stringify(expected[0])
    expect(text.startsWith(`event: response.created\ndata: ${first}\n\n`)).toBe(true)
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')

    // At every later reading, and from every place.
    expect(await follow(idOf(running))).toEqual(expected)
    for (const after of [0, 4, expected.length - 2, expected.length - 1, 1000]) {
      expect(await follow(idOf(running), after)).toEqual(expected.slice(after + 1))
    }
  })

  it('in the background is followed from any place while it runs, and outlives its clients', async () => {
    const leaving = new AbortController()
    const asked = ask({ stream: true, background: true }, {}, leaving.signal)
    const response = await asked // Before anything of the answer is known.
    const running = await api.worker.next()
    const id = idOf(running)
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('response.queued')) text += (await reader.read()).value
    const opening = parseEvents(text.replaceAll(': keep-alive\n', ''))
    expect(opening).toMatchObject([
      { type: 'response.created', sequence_number: 0, response: { id, status: 'queued', background: true } },
      { type: 'response.queued', sequence_number: 1, response: { id, status: 'queued' } },
    ])
    leaving.abort()
    await api.worker.stream(running, events.slice(0, 5))

    const second = get(id, '?stream=true&starting_after=2')
    const third = get(id, '?stream=true')
    const channel = `${api.root()}:live:${running.claimed.id}`
    await until(async () => Number((await api.redis.pubsub('NUMSUB', channel))[1]) === 1)
    await api.worker.stream(running, events.slice(5))
    await api.worker.complete(running, { result: whole })
    const expected = [
      ...opening,
      // The provider's `response.created` was sent already.
      ...events.slice(1).map((event, index) => shown(event, index + 2, id, { background: true })),
    ]
    expect(parseEvents(await (await third).text())).toEqual(expected)
    expect(parseEvents(await (await second).text())).toEqual(expected.slice(3))
    expect(await follow(id, 4)).toEqual(expected.slice(5))
    expect(await read(await get(id))).toEqual({ ...whole, id, background: true })
  })

  it('of an answer that came in one piece is what a streamed one would have been', async () => {
    const input = 'the same'
    const asked = ask({ input })
    await api.worker.complete(await api.worker.next(), { result: responseOf('Zürich 🏔️') })
    await asked
    const response = await ask({ input, stream: true })
    expect(response.headers.get('x-cache')).toBe('hit')
    const id = String(response.headers.get('x-job-id')).replace('job_', 'resp_')
    const replayed = parseEvents(await response.text())
    expect(replayed.map((event) => event.sequence_number)).toEqual(replayed.map((_, index) => index))
    expect(typesOf(replayed)).toEqual(typesOf(textEvents(['Zürich 🏔️'])))
    expect(replayed.at(-1)!.response).toEqual({ ...responseOf('Zürich 🏔️'), id })
    expect(await follow(id)).toEqual(replayed)
    expect(await follow(id, 3)).toEqual(replayed.slice(4))

    const behind = await ask({ input, stream: true, background: true })
    const told = parseEvents(await behind.text())
    expect(typesOf(told).slice(0, 3)).toEqual(['response.created', 'response.queued', 'response.in_progress'])
    expect(told.map((event) => event.sequence_number)).toEqual(told.map((_, index) => index))
    expect(told.at(-1)).toMatchObject({ type: 'response.completed', response: { background: true } })
  })

  it('that had only begun goes on with an answer that comes in one piece', async () => {
    const asked = ask({ stream: true })
    const first = await api.worker.next()
    await api.worker.stream(first, [...events.slice(0, 2), { type: 'response.failed', response: whole }])
    await api.worker.retry(first, Date.now())
    const running = await api.worker.next()
    await api.worker.complete(running, { result: responseOf('Zürich 🏔️') })
    const told = parseEvents(await (await asked).text())
    expect(typesOf(told)).toEqual(typesOf(textEvents(['Zürich 🏔️'])))
    expect(told.map((event) => event.sequence_number)).toEqual(told.map((_, index) => index))
    expect(await follow(idOf(running))).toEqual(told)
  })

  it('of the answer of another job has numbers of its own, the same at every reading', async () => {
    const body = { input: 'the same', stream: true }
    const first = ask(body)
    const running = await api.worker.next()
    const second = ask(body)
    await until(async () => {
      const { data } = await read(await fetch(`${url}/v1/jobs?limit=1`))
      return (data as JsonObject[])[0]!.cache === 'shared'
    })
    await api.worker.stream(running, events)
    await api.worker.complete(running, { result: whole })
    expect(parseEvents(await (await first).text())).toHaveLength(events.length)
    const response = await second
    expect(response.headers.get('x-cache')).toBe('shared')
    const told = parseEvents(await response.text())
    const id = String(response.headers.get('x-job-id')).replace('job_', 'resp_')
    expect(told.at(-1)).toMatchObject({ response: { ...whole, id } })
    expect(await follow(id, 5)).toEqual(told.slice(6))
  })

  it('with an Idempotency-Key is the same when it is requested again', async () => {
    const headers = { 'idempotency-key': 'the-key' }
    const body = { input: 'the same', stream: true }
    const first = ask(body, headers)
    const running = await api.worker.next()
    await api.worker.stream(running, events)
    const second = ask(body, headers)
    await api.worker.complete(running, { result: whole })
    const expected = events.map((event, index) => shown(event, index, idOf(running)))
    for (const asked of [first, second, ask(body, headers)]) {
      expect(parseEvents(await (await asked).text())).toEqual(expected)
    }
  })

  it('begins again for a client that comes back', async () => {
    const headers = { 'idempotency-key': 'the-key' }
    const body = { input: 'the same', stream: true }
    const leaving = new AbortController()
    const first = ask(body, headers, leaving.signal)
    const running = await api.worker.next()
    await api.worker.stream(running, events.slice(0, 5))
    await (await first).body!.getReader().read()
    leaving.abort()
    await until(async () => (await statusOf(running)) === 'cancelled')
    const second = ask(body, headers)
    const again = await api.worker.next()
    expect(again.claimed.id).toBe(running.claimed.id)
    const other = textEvents(['Another answer'])
    await api.worker.stream(again, other)
    await api.worker.complete(again, { result: other.at(-1)!.response as JsonObject })
    const expected = other.map((event, index) => shown(event, index, idOf(running)))
    expect(parseEvents(await (await second).text())).toEqual(expected)
    expect(await follow(idOf(running), 1)).toEqual(expected.slice(2))
  })

  it('leaves out attempts that showed nothing', async () => {
    const asked = ask({ stream: true })
    const first = await api.worker.next()
    await api.worker.stream(first, events.slice(0, 1))
    await api.worker.retry(first, Date.now())
    const running = await api.worker.next()
    await api.worker.stream(running, events)
    await api.worker.complete(running, { result: whole })
    const expected = events.map((event, index) => shown(event, index, idOf(running)))
    expect(parseEvents(await (await asked).text())).toEqual(expected)
    expect(await follow(idOf(running))).toEqual(expected)
  })
})

describe('a stream that fails', () => {
  async function begin(members: JsonObject = {}) {
    const asked = ask({ stream: true, ...members })
    const running = await api.worker.next()
    await api.worker.stream(running, events.slice(0, 5))
    return { response: await asked, running }
  }

  it('ends with an error in both of the shapes that clients look for, the same at every reading', async () => {
    const { response, running } = await begin()
    await api.worker.fail(running, { provider_error: { message: 'Too hot.', code: 'heat' } })
    const told = parseEvents(await response.text())
    expect(told.at(-1)).toEqual({
      type: 'error',
      sequence_number: 5,
      code: 'heat',
      message: 'Too hot.',
      param: null,
      error: { message: 'Too hot.', type: 'server_error', param: null, code: 'heat' },
    })
    expect(typesOf(told).slice(0, -1)).toEqual(typesOf(events.slice(0, 5)))
    expect(await follow(idOf(running), 2)).toEqual(told.slice(3))
  })

  it("keeps the provider's own message that the response failed", async () => {
    const { response, running } = await begin()
    const error = { code: 'server_error', message: 'It broke.' }
    await api.worker.stream(running, [
      { type: 'response.failed', response: { ...whole, status: 'failed', error } },
    ])
    await api.worker.fail(running, { provider_error: error })
    expect(parseEvents(await response.text()).slice(5)).toMatchObject([
      { type: 'response.failed', sequence_number: 5, response: { id: idOf(running), error } },
      { type: 'error', sequence_number: 6, code: 'server_error' },
    ])
  })

  it('in the background says so of the response as well', async () => {
    const { response, running } = await begin({ background: true })
    await api.worker.fail(running)
    const told = parseEvents(await response.text())
    expect(told.slice(-2)).toMatchObject([
      { type: 'response.failed', response: { id: idOf(running), status: 'failed', error: { code: 'boom' } } },
      { type: 'error', code: 'boom', message: 'It broke.' },
    ])
    expect(await follow(idOf(running), 3)).toEqual(told.slice(4))
  })

  it('says that its response was cancelled', async () => {
    const { response, running } = await begin({ background: true })
    await cancel(idOf(running))
    const told = parseEvents(await response.text())
    expect(told.at(-1)).toMatchObject({ type: 'error', sequence_number: 6, code: 'job_cancelled' })
    expect(await follow(idOf(running), 5)).toEqual(told.slice(6))
  })

  it('in the background does not end its job when an attempt is lost: the whole answer comes later', async () => {
    const { response, running } = await begin({ background: true })
    await api.worker.retry(running, Date.now())
    const told = parseEvents(await response.text())
    expect(told.at(-1)).toMatchObject({ type: 'error', code: 'boom' })
    const again = await api.worker.next()
    await api.worker.stream(again, events)
    await api.worker.complete(again, { result: whole })
    expect(await read(await get(idOf(running)))).toMatchObject({ status: 'completed' })
    expect(await follow(idOf(running))).toEqual(told)
  })

  it('says that texts were lost', async () => {
    const { response, running } = await begin()
    await api.worker.stream(running, events.slice(6))
    await api.worker.complete(running, { result: whole })
    const told = parseEvents(await response.text())
    expect(told.at(-1)).toMatchObject({ type: 'error', code: 'lost_chunks' })
    expect(typesOf(told)).not.toContain('response.completed')
  })

  it('with the server has no number, because the stream goes on elsewhere', async () => {
    const { response, running } = await begin({ background: true })
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('output_text.delta')) text += (await reader.read()).value
    const closed = api.app.close()
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    const told = parseEvents(text)
    expect(told.slice(-2)).toMatchObject([
      { type: 'response.output_text.delta', sequence_number: 5 },
      { type: 'error', sequence_number: 5, code: 'unavailable' },
    ])
    await closed
    expect(await statusOf(running)).toBe('running')
  })
})

describe('a response that does not exist', () => {
  it('gets the same bytes: other jobs, those of other tenants, and ids that never existed', async () => {
    const guarded = await createTestApi({ tenants: testTenants })
    const address = await guarded.listen()
    const send = (key: string, path: string, body?: JsonObject, method = body ? 'POST' : 'GET') =>
      fetch(`${address}/v1/${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      })
    const { id } = await read(
      await send(acmeKey, 'responses', { model: 'openai/small', input: 'x', background: true }),
    )
    const messages = [{ role: 'user', content: 'x' }]
    const chat = await read(
      await send(acmeKey, 'jobs', { type: 'chat', body: { model: 'openai/small', messages } }),
    )
    const named = String(chat.id).replace('job_', 'resp_')
    const unknown = 'resp_0000000000007000800000000000000'
    const bodies = new Set<string>()
    for (const [key, name] of [
      [otherKey, id],
      [acmeKey, named],
      [acmeKey, unknown],
      [acmeKey, 'resp_1'],
      [acmeKey, chat.id],
    ] as const) {
      for (const [method, path] of [
        ['GET', ''],
        ['GET', '?stream=true'],
        ['GET', '/input_items'],
        ['POST', '/cancel'],
        ['DELETE', ''],
      ] as const) {
        const response = await send(key, `responses/${name}${path}`, undefined, method)
        expect(response.status).toBe(404)
        bodies.add(await response.text())
      }
    }
    expect([...bodies]).toEqual([expect.stringContaining('"code":"not_found"')])
    expect(
      await errorOf(
        await send(otherKey, 'responses', { model: 'openai/small', input: 'x', previous_response_id: id! }),
      ),
    ).toMatchObject([400, { param: 'previous_response_id' }])
    await guarded.close()
  })

  it('is a deleted one', async () => {
    const { id } = await read(await ask({ background: true }))
    const gone = await fetch(`${url}/v1/responses/${id}`, { method: 'DELETE' })
    expect([gone.status, await read(gone)]).toEqual([200, { id, object: 'response', deleted: true }])
    expect((await get(id)).status).toBe(404)
    expect((await fetch(`${url}/v1/jobs/${String(id).replace('resp_', 'job_')}`)).status).toBe(404)
  })
})

it('is described for machines', async () => {
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, object> }
  expect(
    Object.entries(paths)
      .filter(([path]) => path.startsWith('/v1/responses'))
      .map(([path, methods]) => `${path} ${Object.keys(methods).sort()}`)
      .sort(),
  ).toEqual([
    '/v1/responses post',
    '/v1/responses/compact post',
    '/v1/responses/input_tokens post',
    '/v1/responses/{id} delete,get',
    '/v1/responses/{id}/cancel post',
    '/v1/responses/{id}/input_items get',
  ])
})
