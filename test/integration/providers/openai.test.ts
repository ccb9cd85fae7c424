import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { API_KEY, chatBody, openProvider, openServer, openSimulator } from './fixture.ts'

test('a chat comes back as the provider answered it, with usage and feedback', async () => {
  const { ask, simulator } = await openSimulator({
    limits: { requests_per_minute: 60, tokens_per_minute: 6000 },
  })
  const answer = await ask({ body: chatBody('hello', { max_tokens: 50, unknown_member: { a: 1 } }) })
  expect(answer).toMatchObject({
    ok: true,
    status: 200,
    body: { object: 'chat.completion', model: 'gpt-test', choices: [{ message: { role: 'assistant' } }] },
    feedback: { limitRequests: 60, remainingRequests: 59, limitTokens: 6000, remainingTokens: 5950 },
  })
  if (!answer.ok) throw new Error(answer.message)
  const usage = answer.body.usage as JsonObject
  expect(answer.usage).toEqual({
    input_tokens: usage.prompt_tokens,
    output_tokens: usage.completion_tokens,
    total_tokens: usage.total_tokens,
  })
  expect(simulator.state()).toMatchObject({ calls: 1, billed_calls: 1, billed_tokens: 50 })
})

test('responses and embeddings go to their endpoints', async () => {
  const { ask, simulator } = await openSimulator()
  const response = await ask({ type: 'response', body: { input: 'hello' } })
  expect(response).toMatchObject({ ok: true, body: { object: 'response', status: 'completed', error: null } })
  const embedding = await ask({ type: 'embedding', body: { input: ['a', 'b'], dimensions: 8 } })
  expect(embedding).toMatchObject({ ok: true, body: { object: 'list' }, usage: { output_tokens: 0 } })
  if (!embedding.ok) throw new Error(embedding.message)
  expect(embedding.body.data).toHaveLength(2)
  expect(simulator.state().by_path).toEqual({ '/v1/responses': { 200: 1 }, '/v1/embeddings': { 200: 1 } })
})

test('the body goes out unchanged except for the model, with our headers and none from the environment', async () => {
  const seen: { body: JsonObject; headers: NodeJS.Dict<string | string[]> }[] = []
  const url = await openServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => {
      text += chunk
    })
    request.on('end', () => {
      seen.push({ body: JSON.parse(text), headers: request.headers })
      response
        .setHeader('content-type', 'application/json')
        .end('{"choices":[{"message":{"content":"x"}}],"odd":{"kept":[1]}}')
    })
  })
  const before = { ...process.env }
  process.env.OPENAI_CUSTOM_HEADERS = 'x-leak: 1\nauthorization: Bearer leak'
  process.env.OPENAI_ORG_ID = 'org-leak'
  const { ask } = openProvider(url, { headers: { 'X-Team': 'blue' } })
  process.env = before
  const body = chatBody('hello', { zeta: null, nested: { a: [{ b: 1.5 }] } })
  const answer = await ask({ body })
  expect(answer).toMatchObject({
    ok: true,
    body: { choices: [{ message: { content: 'x' } }], odd: { kept: [1] } },
    usage: null,
    feedback: {},
  })
  expect(seen[0]?.body).toEqual({ ...body, model: 'gpt-test' })
  expect(Object.keys(seen[0]?.headers ?? {}).sort()).toEqual(
    [
      'accept',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'user-agent',
      'x-team',
    ].sort(),
  )
  expect(seen[0]?.headers.authorization).toBe(`Bearer ${API_KEY}`)
})

test('Azure is asked by deployment, with its version and its key header', async () => {
  const seen: { url: string | undefined; key: unknown; bearer: unknown }[] = []
  const url = await openServer((request, response) => {
    request.resume()
    seen.push({ url: request.url, key: request.headers['api-key'], bearer: request.headers.authorization })
    response
      .setHeader('content-type', 'application/json')
      .end('{"choices":[{"message":{"content":"x"}}],"output":[{"type":"message"}]}')
  })
  const host = url.replace(/\/v1$/, '')
  const { ask } = openProvider(host, { kind: 'azure-openai', apiVersion: '2025-01-01' })
  expect((await ask({ model: 'my deployment', body: chatBody('x') })).ok).toBe(true)
  expect((await ask({ type: 'response', body: { input: 'x' } })).ok).toBe(true)
  const next = openProvider(`${host}/openai/v1/`, { kind: 'azure-openai' })
  expect((await next.ask({ body: chatBody('x') })).ok).toBe(true)
  expect(seen).toEqual([
    {
      url: '/openai/deployments/my%20deployment/chat/completions?api-version=2025-01-01',
      key: API_KEY,
      bearer: undefined,
    },
    { url: '/openai/responses?api-version=2025-01-01', key: API_KEY, bearer: undefined },
    { url: '/openai/v1/chat/completions', key: API_KEY, bearer: undefined },
  ])
})

test('the simulator answers Azure’s paths too', async () => {
  const { url } = await openSimulator()
  const { ask } = openProvider(url.replace(/\/v1$/, ''), { kind: 'azure-openai' })
  expect(await ask({ model: 'mine', body: chatBody('x') })).toMatchObject({
    ok: true,
    body: { model: 'mine' },
  })
})

test('connections are used again', async () => {
  const ports = new Set<number | undefined>()
  const url = await openServer((request, response) => {
    ports.add(request.socket.remotePort)
    request
      .resume()
      .on('end', () =>
        response
          .setHeader('content-type', 'application/json')
          .end('{"choices":[{"message":{"content":"x"}}]}'),
      )
  })
  const { ask } = openProvider(url)
  const stream = { stream: true }
  for (let count = 0; count < 10; count += 1) {
    expect((await ask({ body: chatBody('x', count % 2 ? stream : {}) })).ok).toBe(true)
  }
  // Two, because an answer is returned just before its connection is free.
  expect(ports.size).toBeLessThanOrEqual(2)
})

test('a time-out is a time-out before the headers and in the body', async () => {
  const { ask, simulator } = await openSimulator()
  const hang = await ask({ body: chatBody('[[fault:hang]]'), timeoutMs: 60 })
  expect(hang).toMatchObject({ ok: false, class: 'timeout', code: 'timeout', status: null, ambiguous: true })
  const drip = await ask({ body: chatBody('[[fault:drip:ms=40]]'), timeoutMs: 150 })
  expect(drip).toMatchObject({ ok: false, class: 'timeout', status: 200, ambiguous: true })
  const stream = await ask({ body: chatBody('[[fault:drip:ms=40]]', { stream: true }), timeoutMs: 150 })
  expect(stream).toMatchObject({ ok: false, class: 'timeout', status: 200, ambiguous: true })
  await expect.poll(() => simulator.state().in_flight).toBe(0)
})

test('an endless error body is cut by the time-out, and the status stays', async () => {
  const url = await openServer((request, response) => {
    request.resume()
    response.writeHead(500, { 'content-type': 'application/json' }).write('{"error":')
  })
  const { ask } = openProvider(url)
  expect(await ask({ body: chatBody('x'), timeoutMs: 1000 })).toMatchObject({
    class: 'retryable',
    status: 500,
  })
})

test('an abort is reported as aborted: unsent when it came before the call, ambiguous after', async () => {
  const { ask, simulator } = await openSimulator()
  const never = await ask({ body: chatBody('x'), signal: AbortSignal.abort() })
  expect(never).toMatchObject({ ok: false, class: 'aborted', ambiguous: false })
  expect(simulator.state().calls).toBe(0)
  for (const members of [{}, { stream: true }]) {
    const controller = new AbortController()
    const body = chatBody('[[fault:drip:ms=30]]', members)
    const pending = ask({ body, signal: controller.signal })
    await expect.poll(() => simulator.state().in_flight).toBe(1)
    controller.abort()
    expect(await pending).toMatchObject({ ok: false, class: 'aborted', ambiguous: true })
    await expect.poll(() => simulator.state().in_flight).toBe(0)
  }
})

test('a call leaves nothing behind on the caller’s signal', async () => {
  const { ask } = await openSimulator()
  const controller = new AbortController()
  const { signal } = controller
  let listeners = 0
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...given: Parameters<typeof add>) => {
    listeners += 1
    add(...given)
  }
  signal.removeEventListener = (...given: Parameters<typeof remove>) => {
    listeners -= 1
    remove(...given)
  }
  await ask({ body: chatBody('x'), signal })
  await ask({ body: chatBody('[[fault:500]]'), signal })
  await ask({ body: chatBody('[[fault:reset_before]]'), signal })
  expect(listeners).toBe(0)
})

test('no timer outlives its call', async () => {
  const { ask } = await openSimulator()
  const countTimers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  await ask({ body: chatBody('x') })
  const before = countTimers()
  for (const prompt of ['x', '[[fault:500]]', '[[fault:reset_before]]']) {
    for (let count = 0; count < 5; count += 1) await ask({ body: chatBody(prompt), timeoutMs: 600_000 })
  }
  // The pool's own keep-alive timers come and go.
  expect(countTimers() - before).toBeLessThan(5)
})

test('a refused connection reached nobody: retryable and not ambiguous', async () => {
  const { simulator, url, ask } = await openSimulator()
  await simulator.close()
  expect(await ask({ body: chatBody('x') })).toMatchObject({
    ok: false,
    class: 'retryable',
    code: 'connection_error',
    status: null,
    ambiguous: false,
  })
  const port = Number(new URL(url).port)
  await expect(new Promise((_, reject) => connect(port, '127.0.0.1').once('error', reject))).rejects.toThrow()
})

test('a redirect is not followed', async () => {
  const url = await openServer((request, response) => {
    request.resume()
    response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()
  })
  expect(await openProvider(url).ask({ body: chatBody('x') })).toMatchObject({ class: 'final', status: 307 })
})

test('a response that is left to the background upstream is not an answer', async () => {
  const url = await openServer((request, response) => {
    request.resume()
    response.setHeader('content-type', 'application/json').end('{"status":"queued","output":[],"error":null}')
  })
  const answer = await openProvider(url).ask({ type: 'response', body: { input: 'x', background: true } })
  expect(answer).toMatchObject({ ok: false, class: 'final', code: 'unfinished_response', ambiguous: true })
})

test('a response is never requested in the background, even if its client wants that', async () => {
  const sent: string[] = []
  const url = await openServer(async (request, response) => {
    sent.push(await text(request))
    response.end('{"object":"response","status":"completed","output":[],"error":null}')
  })
  const { ask } = openProvider(url)
  await ask({ type: 'response', body: { input: 'x', background: true, metadata: { background: 'y' } } })
  expect(JSON.parse(sent[0]!)).toEqual({ model: 'gpt-test', input: 'x', metadata: { background: 'y' } })
})

test('an answer is read up to its largest size, and not beyond', async () => {
  const message = { role: 'assistant', content: 'hello' }
  const choices = [{ index: 0, message, finish_reason: 'stop' }]
  const answer = JSON.stringify({ object: 'chat.completion', choices })
  const url = await openServer((request, response) => {
    request.resume()
    response.end(answer)
  })
  const body = chatBody('x')
  const exact = openProvider(url, { maxAnswerBytes: answer.length })
  expect(await exact.ask({ body })).toMatchObject({ ok: true })
  const smaller = openProvider(url, { maxAnswerBytes: answer.length - 1 })
  expect(await smaller.ask({ body })).toMatchObject({ ok: false, class: 'final', ambiguous: true })
})

test('keys in a provider’s message are not passed on', async () => {
  const url = await openServer((request, response) => {
    request.resume()
    const message = `Incorrect API key: ${API_KEY} or sk-abc123456`
    response
      .writeHead(401, { 'content-type': 'application/json' })
      .end(JSON.stringify({ error: { message } }))
  })
  const answer = await openProvider(url).ask({ body: chatBody('x') })
  expect(answer).toMatchObject({ ok: false, class: 'final', message: 'Incorrect API key: [key] or [key]' })
})

test.each([
  ['too few vectors', { data: [{ index: 0, embedding: [1] }] }],
  ['the same index twice', { data: [0, 0].map((index) => ({ index, embedding: [1] })) }],
  ['an entry without a vector', { data: [{ index: 0, embedding: [1] }, { index: 1 }] }],
  ['no list', { data: null }],
])('an embeddings answer with %s is invalid', async (_, answered) => {
  const url = await openServer((request, response) => {
    request.resume()
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answered))
  })
  const answer = await openProvider(url).ask({ type: 'embedding', body: { input: ['a', 'b'] } })
  expect(answer).toMatchObject({ ok: false, class: 'retryable', code: 'invalid_answer', ambiguous: true })
})
