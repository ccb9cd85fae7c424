import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { composeRequest, splitAnswer } from '../../../providers/embedding-request.ts'
import { encodeVectors } from '../../../providers/vectors.ts'
import type { SimulatorState } from '../../../simulator/state.ts'
import { chatBody, openSimulator } from './fixture.ts'

async function post(url: string, path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, headers: response.headers, body: (await response.json()) as JsonObject }
}
const chat = (content: string) => ({ model: 'm', messages: [{ role: 'user', content }] })
const rootOf = (url: string) => url.replace(/\/v1$/, '')

test('the same prompt gets the same answer, another prompt another one', async () => {
  const { url } = await openSimulator()
  const text = async (content: string) => {
    const { body } = await post(url, '/chat/completions', chat(content))
    return (body.choices as { message: { content: string } }[])[0]?.message.content
  }
  expect(await text('a')).toBe(await text('a'))
  expect(await text('a')).not.toBe(await text('b'))
})

test('vectors are deterministic, of unit length, and independent of the rest of the request', async () => {
  const { url } = await openSimulator()
  const vectors = async (members: JsonObject) => {
    const { body } = await post(url, '/embeddings', { model: 'm', ...members })
    return (encodeVectors(body, 'float').data as { embedding: number[] }[]).map((entry) => entry.embedding)
  }
  const [alone] = await vectors({ input: 'a', dimensions: 64 })
  const [, together] = await vectors({ input: ['b', 'a'], dimensions: 64, encoding_format: 'base64' })
  expect(together).toEqual(alone)
  expect(Math.hypot(...(alone ?? []))).toBeCloseTo(1, 5)
  const [full] = await vectors({ input: [1, 2, 3] })
  expect(full).toHaveLength(1536)
})

test('embeddings that OpenAI refuses are refused', async () => {
  const { url } = await openSimulator()
  const status = async (input: unknown) => (await post(url, '/embeddings', { model: 'm', input })).status
  expect(await status(Array(2048).fill('a'))).toBe(200)
  expect(await status(Array(2049).fill('a'))).toBe(400)
  expect(await status(['a', ''])).toBe(400)
  expect(await status([])).toBe(400)
  expect(await status({ a: 1 })).toBe(400)
  expect(await status(Array(40).fill('x'.repeat(32_000)))).toBe(400)
  expect(await status(Array(37).fill('x'.repeat(32_000)))).toBe(200)
  expect(await status('x'.repeat(40_000))).toBe(400)
  const poisoned = await post(url, '/embeddings', { model: 'm', input: ['fine', 'a [[poison]] b'] })
  expect(poisoned).toMatchObject({
    status: 400,
    body: { error: { type: 'invalid_request_error', param: 'input' } },
  })
})

test.each(['bucket', 'window'] as const)(
  'the %s refuses what exceeds the limit and says when to come again',
  async (enforcement) => {
    let now = 1_000_000
    const { url, simulator } = await openSimulator({
      enforcement,
      limits: { requests_per_minute: 3 },
      now: () => now,
    })
    const statuses: number[] = []
    for (let count = 0; count < 3; count += 1)
      statuses.push((await post(url, '/chat/completions', chat('a'))).status)
    expect(statuses).toEqual([200, 200, 200])
    const refused = await post(url, '/chat/completions', chat('a'))
    expect(refused).toMatchObject({
      status: 429,
      body: { error: { type: 'requests', code: 'rate_limit_exceeded', param: null } },
    })
    const wait = enforcement === 'bucket' ? 20_000 : 60_000
    expect(refused.headers.get('retry-after-ms')).toBe(String(wait))
    expect(refused.headers.get('retry-after')).toBe(String(wait / 1000))
    expect(refused.headers.get('x-ratelimit-remaining-requests')).toBe('0')
    expect(refused.headers.get('x-ratelimit-reset-requests')).toBe('1m0s')
    now += wait - 1
    expect((await post(url, '/chat/completions', chat('a'))).status).toBe(429)
    now += 1
    expect((await post(url, '/chat/completions', chat('a'))).status).toBe(200)
    expect(simulator.state().rejected).toMatchObject({ requests: 2, tokens: 0, concurrency: 0 })
  },
)

test('tokens are charged at admission by the larger of cap and prompt, and each model has its own limits', async () => {
  const { url } = await openSimulator({
    limits: { tokens_per_minute: 100 },
    modelLimits: { big: {} },
    now: () => 0,
  })
  const ask = (members: JsonObject) => post(url, '/chat/completions', { ...chat('x'.repeat(40)), ...members })
  const first = await ask({ max_tokens: 60 })
  expect(first.headers.get('x-ratelimit-remaining-tokens')).toBe('40')
  expect(await ask({ max_tokens: 41 })).toMatchObject({ status: 429, body: { error: { type: 'tokens' } } })
  expect((await ask({ max_tokens: 500 })).body).toMatchObject({
    error: { message: expect.stringContaining('Request too large') },
  })
  expect((await ask({})).headers.get('x-ratelimit-remaining-tokens')).toBe('30')
  expect((await ask({ model: 'big', max_tokens: 5000 })).status).toBe(200)
  expect((await ask({ model: 'other', max_tokens: 100 })).status).toBe(200)
})

test('calls at once are limited on request', async () => {
  const { url, simulator } = await openSimulator({ limits: { max_concurrency: 2 }, latencyMs: 100 })
  const all = await Promise.all([1, 2, 3].map(() => post(url, '/chat/completions', chat('a'))))
  expect(all.map(({ status }) => status).sort()).toEqual([200, 200, 429])
  expect(simulator.state()).toMatchObject({ peak_concurrency: 3, rejected: { concurrency: 1 } })
  expect((await post(url, '/chat/completions', chat('a'))).status).toBe(200)
})

test('state, calls, faults, limits and reset are reached over HTTP', async () => {
  const { url, simulator } = await openSimulator()
  const root = rootOf(url)
  await post(root, '/_sim/faults', [{ kind: '503', times: 1, path: 'embeddings' }])
  expect((await post(url, '/embeddings', { model: 'm', input: ['a', 'b'] })).status).toBe(503)
  expect((await post(url, '/embeddings', { model: 'm', input: ['a', 'b'] })).status).toBe(200)
  expect((await post(url, '/chat/completions', chat('a'), { 'x-sim-fault': '401' })).status).toBe(401)

  const state = (await (await fetch(`${root}/_sim/state`)).json()) as SimulatorState
  expect(state).toMatchObject({
    calls: 3,
    by_path: { '/v1/embeddings': { 200: 1, 503: 1 }, '/v1/chat/completions': { 401: 1 } },
    admitted_requests: 3,
    billed_calls: 1,
    billed_inputs: 2,
    faults: { 401: 1, 503: 1 },
    in_flight: 0,
  })
  expect(state.timeline.reduce((sum, entry) => sum + entry.requests, 0)).toBe(3)
  const { calls } = (await (await fetch(`${root}/_sim/calls`)).json()) as { calls: JsonObject[] }
  expect(calls).toEqual([
    {
      at: expect.any(Number),
      path: '/v1/embeddings',
      model: 'm',
      prompt_hash: expect.any(String),
      tokens: 2,
      inputs: 2,
    },
  ])

  await post(root, '/_sim/limits', { requests_per_minute: 1 })
  expect((await post(url, '/chat/completions', chat('a'))).status).toBe(200)
  expect((await post(url, '/chat/completions', chat('a'))).status).toBe(429)
  expect((await post(root, '/_sim/faults', [{ kind: 'melt' }])).status).toBe(400)
  await post(root, '/_sim/reset', {})
  expect(simulator.state()).toMatchObject({ calls: 0, billed_calls: 0 })
  expect(simulator.calls()).toEqual([])
})

test('the same prompt billed twice is visible as the same hash twice', async () => {
  const { url, simulator } = await openSimulator()
  await post(url, '/chat/completions', chat('a'))
  await post(url, '/chat/completions', { ...chat('a'), stream: false, temperature: 0 })
  await post(url, '/chat/completions', chat('b'))
  const [first, second, third] = simulator.calls().map((call) => call.prompt_hash)
  expect(second).toBe(first)
  expect(third).not.toBe(first)
})

test('unknown models, paths and broken bodies answer as OpenAI does', async () => {
  const { url } = await openSimulator({ models: ['known'] })
  expect(await post(url, '/chat/completions', chat('a'))).toMatchObject({
    status: 404,
    body: { error: { code: 'model_not_found' } },
  })
  expect((await post(url, '/chat/completions', '{')).status).toBe(400)
  expect((await post(url, '/chat/completions', { model: 'known', messages: [] })).status).toBe(400)
  expect((await post(url, '/unknown', {})).status).toBe(404)
  const models = (await (await fetch(`${url}/models`)).json()) as JsonObject
  expect(models).toMatchObject({ object: 'list', data: [{ id: 'known', object: 'model' }] })
})

test('a request shared by several jobs splits into what each would have got alone', async () => {
  const { ask } = await openSimulator()
  const bodies = [{ input: 'aaaa' }, { input: ['bbbb', 'cccccccc'] }]
  const request = composeRequest(bodies.map((body) => ({ body, group: null })))
  const shared = await ask({ type: 'embedding', body: request.body! })
  if (!shared.ok) throw new Error(shared.message)
  const parts = splitAnswer(shared.body, request)
  for (const [index, body] of bodies.entries()) {
    const alone = await ask({ type: 'embedding', body: { ...body, encoding_format: 'base64' } })
    if (!alone.ok) throw new Error(alone.message)
    expect(parts[index]!.result).toEqual(alone.body)
  }
})

test('latency holds the answer back and is gone with the client', async () => {
  const { ask, simulator } = await openSimulator({ latencyMs: 80 })
  const started = performance.now()
  expect((await ask({ body: chatBody('a') })).ok).toBe(true)
  expect(performance.now() - started).toBeGreaterThanOrEqual(79)
  expect((await ask({ body: chatBody('a'), timeoutMs: 20 })).ok).toBe(false)
  await expect.poll(() => simulator.state().by_path['/v1/chat/completions']).toEqual({ 200: 1, 499: 1 })
})

const HINTS = ['limit', 'remaining', 'reset'].flatMap((what) => [
  `x-ratelimit-${what}-requests`,
  `anthropic-ratelimit-requests-${what}`,
])

test.for([
  [
    'openai',
    2,
    ['x-ratelimit-limit-requests', 'x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests'],
  ],
  ['anthropic', 1, HINTS.filter((name) => name.startsWith('anthropic')).sort()],
  ['azure-1s', 1, ['x-ratelimit-limit-requests', 'x-ratelimit-remaining-requests']],
  ['azure-10s', 1, ['x-ratelimit-limit-requests', 'x-ratelimit-remaining-requests']],
  ['gemini', 2, []],
  ['sliding-log', 2, []],
] as const)(
  'limits like %s hold, and are reported as there',
  async ([limitsLike, admitted, hints], { expect }) => {
    const { url } = await openSimulator({
      limitsLike,
      limits: { requests_per_minute: 2 },
      now: () => Date.UTC(2026, 10, 30, 12),
    })
    const answers: Awaited<ReturnType<typeof post>>[] = []
    for (const content of ['a', 'b', 'c']) answers.push(await post(url, '/chat/completions', chat(content)))
    const refused = answers.find(({ status }) => status === 429)!
    expect(answers.indexOf(refused)).toBe(admitted)
    expect(HINTS.filter((name) => answers[0]!.headers.has(name)).sort()).toEqual([...hints].sort())
    const exact = limitsLike === 'openai' || limitsLike.startsWith('azure')
    expect(refused.headers.has('retry-after-ms')).toBe(exact)
    expect(refused.headers.has('retry-after')).toBe(limitsLike !== 'gemini')
    if (limitsLike !== 'gemini') return
    expect(refused.body.error).toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      details: [{ retryDelay: expect.stringMatching(/^[\d.]+s$/) }],
    })
  },
)

test('tokens counted as used come back when the call is answered', async () => {
  const remaining = async (tokenCounting: 'estimate' | 'used') => {
    const { url } = await openSimulator({ tokenCounting, limits: { tokens_per_minute: 10_000 } })
    const call = { ...chat('a'), max_completion_tokens: 4000 }
    await post(url, '/chat/completions', call)
    const { headers } = await post(url, '/chat/completions', call)
    return Number(headers.get('x-ratelimit-remaining-tokens'))
  }
  expect(await remaining('estimate')).toBeLessThan(2100)
  expect(await remaining('used')).toBeGreaterThan(5900)
})
