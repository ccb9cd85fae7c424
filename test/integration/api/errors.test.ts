import { connect } from 'node:net'
import type { InjectOptions } from 'fastify'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  acmeKey,
  chatJob,
  createTestApi,
  type TestApi,
  type TestApiOptions,
  testTenants,
} from '../../helpers/api.ts'

/** For all tests that neither change nor break anything in it. */
const shared = await createTestApi()
afterAll(() => shared.close())

async function start(options: TestApiOptions): Promise<TestApi> {
  const api = await createTestApi(options)
  onTestFinished(() => api.close())
  return api
}

const json = { 'content-type': 'application/json' }

function expectShape(
  response: { statusCode: number; headers: Record<string, unknown>; body: string },
  status: number,
  code: string,
) {
  expect(response.statusCode).toBe(status)
  expect(response.headers['content-type']).toMatch(/^application\/json/)
  expect(response.headers['x-request-id']).toMatch(/^[\w.-]{1,128}$/)
  const { error, ...rest } = JSON.parse(response.body)
  expect(rest).toEqual({})
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
  expect(error.code).toBe(code)
  expect(error.message).toBeTypeOf('string')
  const final = response.headers['x-should-retry'] === 'false'
  expect(final || response.headers['retry-after'] !== undefined).toBe(true)
  return error
}

describe('every error has the one shape', () => {
  it.each([
    ['an unknown path', { url: '/nope' }, 404, 'not_found'],
    ['a known path with another method', { method: 'PATCH', url: '/v1/jobs/job_1' }, 404, 'not_found'],
    ['a path that cannot be decoded', { url: '/v1/jobs/%zz' }, 400, 'invalid_request'],
    ['a path longer than any id', { url: `/v1/jobs/${'x'.repeat(600)}` }, 404, 'not_found'],
    ['an id with characters of no id', { url: '/v1/jobs/%7Bacme%7D%00' }, 404, 'not_found'],
    ['no body', { method: 'POST', url: '/v1/jobs' }, 400, 'invalid_request'],
    ['an empty body', { method: 'POST', url: '/v1/jobs', headers: json }, 400, 'invalid_request'],
    [
      'broken JSON',
      { method: 'POST', url: '/v1/jobs', headers: json, payload: '{"type":' },
      400,
      'invalid_request',
    ],
    [
      'a form',
      { method: 'POST', url: '/v1/jobs', headers: { 'content-type': 'text/plain' }, payload: '{}' },
      400,
      'invalid_request',
    ],
    [
      'no content-type that is one',
      { method: 'POST', url: '/v1/jobs', headers: { 'content-type': ';;' }, payload: '{}' },
      400,
      'invalid_request',
    ],
    [
      'a compressed body',
      { method: 'POST', url: '/v1/jobs', headers: { ...json, 'content-encoding': 'gzip' }, payload: '{}' },
      400,
      'invalid_request',
    ],
    [
      'a form to the bulk route',
      { method: 'POST', url: '/v1/jobs/bulk', headers: { 'content-type': 'text/csv' }, payload: 'a,b' },
      400,
      'invalid_request',
    ],
    ['a wrong query', { url: '/v1/jobs?limit=1001' }, 400, 'invalid_request'],
    [
      'a wrong Last-Event-ID',
      { url: '/v1/jobs/job_1/events', headers: { 'last-event-id': 'a b' } },
      400,
      'invalid_request',
    ],
    ['a missing job', { url: '/v1/jobs/job_none' }, 404, 'not_found'],
    ['a missing group', { url: '/v1/groups/none/events' }, 404, 'not_found'],
    ['a missing delivery', { method: 'POST', url: '/v1/deliveries/none/redeliver' }, 404, 'not_found'],
  ] as const)('%s', async (_what, request, status, code) => {
    expectShape(await shared.app.inject({ ...request } as InjectOptions), status, code)
  })

  it('a body that is too large, declared or not', async () => {
    const { app } = await start({ limits: { bodyBytes: 1000 } })
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const bytes = Buffer.from(JSON.stringify(chatJob({}, 'x'.repeat(5_000_000))))
    for (const body of [bytes, new Blob([bytes]).stream()]) {
      const init = { method: 'POST', headers: json, body, duplex: 'half' } as RequestInit
      const response = await fetch(`${url}/v1/jobs`, init)
      const headers = Object.fromEntries(response.headers)
      expectShape(
        { statusCode: response.status, headers, body: await response.text() },
        413,
        'payload_too_large',
      )
    }
  })

  it('a body that is nested too deep, or has prototype keys', async () => {
    const { app } = shared
    const post = (payload: string) => app.inject({ method: 'POST', url: '/v1/jobs', headers: json, payload })
    const deep = await post(`{"type":"chat","body":${'{"a":'.repeat(70)}1${'}'.repeat(70)}}`)
    expect(expectShape(deep, 400, 'invalid_request').message).toContain('body.a.a.a')
    expectShape(await post('{"type":"chat","body":{"__proto__":{"model":"x"}}}'), 400, 'invalid_request')
  })

  it('a store that is unavailable: 503 with Retry-After, and a log line', async () => {
    const { app, server, logged } = await start({ own: true })
    await app.ready()
    await server!.close()
    const response = await app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob() })
    expect(expectShape(response, 503, 'unavailable').type).toBe('server_error')
    expect(response.headers['retry-after']).toBe('2')
    const refused = logged.find((line) => line.request_id === response.headers['x-request-id'])
    // While the store is known to be away, the request's own line says no more; the error is logged once.
    const reason = (refused?.err as { message: string } | undefined)?.message
    if (reason !== undefined) expect(response.body).not.toContain(reason)
    expect(response.body).not.toContain(String(server!.port))
  })

  it('a fault of our own: 500 that shows nothing, and a log line under the same request id', async () => {
    const { app, redis, root, logged } = shared
    await redis.set(`${root()}:job:job_1`, 'secret of the house')
    const response = await app.inject({ url: '/v1/jobs/job_1', headers: { 'x-request-id': 'trace-1' } })
    expectShape(response, 500, 'internal_error')
    expect(response.body).not.toMatch(/secret|WRONGTYPE/)
    expect(response.headers['x-request-id']).toBe('trace-1')
    const line = logged.find((entry) => entry.request_id === 'trace-1')
    expect(JSON.stringify(line)).toContain('WRONGTYPE')
  })

  it('a record of the store that is not a job: 500 that shows nothing', async () => {
    const { app, redis, root } = shared
    await redis.hset(`${root()}:job:job_2`, { status: 'secret', created_at: '1', type: 'chat' })
    const response = await app.inject({ url: '/v1/jobs/job_2' })
    expectShape(response, 500, 'internal_error')
    expect(response.body).not.toContain('secret')
  })

  it('bytes that are not HTTP, and headers that are too large', async () => {
    const { app } = await start({})
    const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
    const cases = [
      ['NONSENSE\r\n\r\n', 400, 'invalid_request'],
      [`GET / HTTP/1.1\r\nx: ${'x'.repeat(40_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ] as const
    for (const [bytes, status, code] of cases) {
      const { head, body } = await sendRaw(Number(port), bytes)
      expect(head[0]).toContain(` ${status} `)
      const headers = Object.fromEntries(head.slice(1).map((line) => line.split(': ')))
      expectShape({ statusCode: status, headers, body }, status, code)
    }
  })

  it('a body that arrives too slowly', async () => {
    const { app } = await start({ limits: { bodyTimeout: 50 } })
    const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
    const bytes =
      'POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'
    const { head, body } = await sendRaw(Number(port), bytes)
    expect(head[0]).toContain(' 408 ')
    expect(JSON.parse(body).error.code).toBe('request_timeout')
  })

  it('a connection whose body goes on after the answer is cut', async () => {
    const { app } = await start({ limits: { bodyTimeout: 50 } })
    const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
    const { head } = await sendRaw(
      Number(port),
      'GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{',
    )
    expect(head[0]).toContain(' 200 ')
  })
})

describe('validation', () => {
  const cases: [string, unknown, string][] = [
    ['an unknown member outside body', chatJob({ modle: 'x' }), 'modle'],
    [
      'a role of the wrong type',
      { type: 'chat', body: { model: 'm', messages: [{ role: 7 }] } },
      'body.messages[0].role',
    ],
    ['no messages', { type: 'chat', body: { model: 'm', messages: [] } }, 'body.messages'],
    ['no model', { type: 'chat', body: { messages: [{ role: 'user' }] } }, 'body.model'],
    ['no type', { body: {} }, 'type'],
    ['empty input', { type: 'embedding', body: { model: 'm', input: '' } }, 'body.input'],
    ['mixed input', { type: 'embedding', body: { model: 'm', input: ['a', 1] } }, 'body.input[1]'],
    ['a group with spaces', chatJob({ group: 'a b' }), 'group'],
    ['a time that is none', chatJob({ run_at: 'tomorrow' }), 'run_at'],
    ['a webhook that is not allowed', chatJob({ webhook: { url: 'http://10.0.0.1' } }), 'webhook.url'],
    ['an array', [], 'body'],
  ]
  it.each(cases)('names the place of %s', async (_what, payload, place) => {
    const response = await shared.app.inject({ method: 'POST', url: '/v1/jobs', payload: payload as object })
    const error = expectShape(response, 400, 'invalid_request')
    expect(error.param).toBe(place)
    expect(error.message).toContain(`${place}: `)
  })

  it('passes unknown members of body through', async () => {
    const { app, worker } = await start({})
    const payload = chatJob()
    Object.assign(payload.body, { future: { deep: [1] }, seed: null })
    const response = await app.inject({ method: 'POST', url: '/v1/jobs', payload })
    expect(response.statusCode).toBe(202)
    expect((await worker.start(response.json().id)).claimed.body).toEqual(payload.body)
  })

  it('names the error codes of keys and models', async () => {
    const { app } = await start({ tenants: testTenants })
    const headers = { authorization: `Bearer ${acmeKey}` }
    const post = (members: Record<string, unknown>, key = 'k') =>
      app.inject({
        method: 'POST',
        url: '/v1/jobs',
        headers: { ...headers, 'idempotency-key': key },
        payload: chatJob(members),
      })
    expectShape(
      await post({ body: { model: 'nobody/none', messages: [{ role: 'user' }] } }),
      404,
      'model_not_found',
    )
    expectShape(await post({ deadline: '2020-01-01T00:00:00Z' }), 422, 'deadline_unreachable')
    expectShape(await post({}, 'x'.repeat(256)), 400, 'invalid_request')
    const huge = { model: 'openai/small', messages: [{ role: 'user', content: 'x'.repeat(25_000) }] }
    expectShape(await post({ body: huge }), 422, 'exceeds_limit')
  })
})

/** Sends bytes and reads until the server closes. */
function sendRaw(port: number, bytes: string): Promise<{ head: string[]; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    socket.on('error', reject).on('close', () => {
      const [head = '', ...body] = text.split('\r\n\r\n')
      resolve({ head: head.split('\r\n'), body: body.join('\r\n\r\n') })
    })
  })
}

describe('a path that does not exist', () => {
  it.each([
    ['POST', '/v1/chat/completion', 'POST /v1/chat/completion; did you mean POST /v1/chat/completions?'],
    ['POST', '/v1/job?a=b', 'POST /v1/job; did you mean GET or POST /v1/jobs?'],
    ['GET', '/v1/jobs/job_1/attempt', 'GET /v1/jobs/job_1/attempt; did you mean GET /v1/jobs/:id/attempts?'],
    ['PATCH', '/v1/jobs/job_1', 'PATCH /v1/jobs/job_1; this path takes DELETE, GET'],
    ['GET', '/v1/chat/completions', 'GET /v1/chat/completions; this path takes POST'],
    ['GET', '/nowhere/near', 'GET /nowhere/near; /openapi.json lists them all'],
    ['GET', `/${'x'.repeat(500)}`, `GET /${'x'.repeat(199)}…; /openapi.json lists them all`],
  ] as const)('names itself and the nearest paths: %s %s', async (method, url, message) => {
    const response = await shared.app.inject({ method, url })
    expect(expectShape(response, 404, 'not_found').message).toBe(`no such route: ${message}`)
  })
})

describe("paths of Azure's clients", () => {
  it.each([
    ['/openai/deployments/openai%2Fsmall/chat/completions?api-version=2024-10-21', 'openai/small'],
    ['/openai/deployments/openai/small/chat/completions', 'openai/small'],
    ['/openai/deployments/fast/chat/completions', 'fast'],
  ])('name the model: %s', async (url, model) => {
    const response = await shared.app.inject({
      method: 'POST',
      url,
      headers: { prefer: 'respond-async' },
      payload: { model: 'of-the-body', messages: [{ role: 'user', content: url }] },
    })
    expect([response.statusCode, response.json().model]).toEqual([202, model])
  })

  it.each(['/openai/models?api-version=2024-10-21', '/openai/v1/models'])('lead to ours: %s', async (url) => {
    expect((await shared.app.inject({ url })).json().object).toBe('list')
  })

  it('that do not exist stay unchanged', async () => {
    const response = await shared.app.inject({ url: '/openai/deployments/a' })
    expect(expectShape(response, 404, 'not_found').message).toContain('GET /openai/deployments/a')
  })
})
