// What providers store for their clients, through the unmodified openai package.
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { accountName, toWindows } from '../../../jobs/budgets.ts'
import { acmeKey, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'
import { answer, startUpstream, type Upstream } from '../../helpers/upstream.ts'

const [slowKey, poorKey, strictKey] = ['slow-key-0123456789', 'poor-key-0123456789', 'strict-key-0123456789']

let api: TestApi
let upstream: Upstream
let acme: OpenAI
let other: OpenAI
let url: string

beforeAll(async () => {
  upstream = await startUpstream()
  const limits = { requests_per_minute: 60, window: '1s' as const }
  api = await createTestApi({
    tenants: {
      ...testTenants,
      slow: { keys: [slowKey], limits: { requests_per_minute: 1 } },
      poor: { keys: [poorKey], limits: { budget_usd_per_day: 1 } },
      strict: { keys: [strictKey], limits: { budgets: [{ usd: 1, per: 'month' }] } },
    },
    providers: {
      compatible: { kind: 'openai-compatible', base_url: upstream.url, models: { small: {} } },
      openai: {
        kind: 'openai',
        base_url: upstream.url,
        api_key: 'a-secret-of-the-provider',
        models: { small: { limits }, narrow: { limits: { requests_per_minute: 1 } } },
      },
      claude: { kind: 'anthropic', api_key: 'x', models: { small: {} } },
    },
  })
  url = await api.listen()
  const options = { baseURL: `${url}/v1`, maxRetries: 0 }
  acme = new OpenAI({ ...options, apiKey: acmeKey })
  other = new OpenAI({ ...options, apiKey: otherKey })
})
afterAll(async () => {
  await api.close()
  await upstream.close()
})
beforeEach(() => {
  upstream.calls.length = 0
})

/** The provider's requests, as `METHOD path`. */
const asked = () => upstream.calls.map(({ method, path }) => `${method} ${path}`)
let made = 0

async function createConversation(): Promise<string> {
  const id = `conv_${++made}`
  upstream.script = (_call, response) =>
    answer(response, 200, { id, object: 'conversation', metadata: {}, created_at: 1 })
  await acme.conversations.create({ metadata: { topic: 'x' } })
  upstream.calls.length = 0
  return id
}

it('conversations are passed on to the provider that keeps them, whole', async () => {
  upstream.script = ({ body }, response) =>
    answer(response, 200, {
      id: 'conv_whole',
      object: 'conversation',
      created_at: 1,
      metadata: body.metadata,
    })
  const created = await acme.conversations.create({ metadata: { topic: 'x' } })
  expect(created).toMatchObject({ id: 'conv_whole', metadata: { topic: 'x' } })
  expect(upstream.calls[0]).toMatchObject({
    path: '/v1/conversations',
    headers: { authorization: 'Bearer a-secret-of-the-provider' },
  })
  upstream.script = (_call, response) =>
    answer(response, 200, { object: 'list', data: [{ id: 'msg_1' }], has_more: false })
  await acme.conversations.retrieve('conv_whole')
  await acme.conversations.update('conv_whole', { metadata: { topic: 'y' } })
  await acme.conversations.items.create('conv_whole', {
    items: [{ type: 'message', role: 'user', content: 'hi' }],
  })
  const items = await acme.conversations.items.list('conv_whole', { limit: 5, order: 'asc' })
  expect(items.data).toEqual([{ id: 'msg_1' }])
  await acme.conversations.items.retrieve('msg_1', { conversation_id: 'conv_whole' })
  await acme.conversations.items.delete('msg_1', { conversation_id: 'conv_whole' })
  expect(asked()).toEqual([
    'POST /v1/conversations',
    'GET /v1/conversations/conv_whole',
    'POST /v1/conversations/conv_whole',
    'POST /v1/conversations/conv_whole/items',
    'GET /v1/conversations/conv_whole/items?limit=5&order=asc',
    'GET /v1/conversations/conv_whole/items/msg_1',
    'DELETE /v1/conversations/conv_whole/items/msg_1',
  ])
  expect(upstream.calls[2]!.body).toEqual({ metadata: { topic: 'y' } })
  upstream.script = (_call, response) => answer(response, 200, { id: 'conv_whole', deleted: true })
  await acme.conversations.delete('conv_whole')
  await expect(acme.conversations.retrieve('conv_whole')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  expect(asked()).toHaveLength(8)
})

it('a conversation of another tenant does not exist, by every route, and its provider is not asked', async () => {
  const id = await createConversation()
  const missing = await other.conversations.retrieve('conv_none').catch((error) => error)
  for (const reach of [
    () => other.conversations.retrieve(id),
    () => other.conversations.delete(id),
    () => other.conversations.items.list(id),
    () => other.conversations.items.create(id, { items: [] }),
  ]) {
    const error = await reach().catch((refusal: unknown) => refusal)
    expect(error).toMatchObject({ status: 404, error: missing.error })
  }
  for (const model of ['openai/small', 'claude/small', 'nobody/small']) {
    const input = { model, input: 'hi', conversation: id }
    await expect(other.responses.create(input)).rejects.toMatchObject({ status: 404 })
    await expect(other.responses.inputTokens.count(input)).rejects.toMatchObject({ status: 404 })
  }
  const body = { model: 'openai/small', input: 'hi', conversation: { id } }
  const headers = { authorization: `Bearer ${otherKey}`, 'content-type': 'application/json' }
  const job = { type: 'response', body }
  const send = (path: string, payload: unknown) =>
    fetch(url + path, { method: 'POST', headers, body: JSON.stringify(payload) })
  expect((await send('/v1/jobs', job)).status).toBe(404)
  expect(await (await send('/v1/jobs/bulk', [job])).text()).toContain('no such conversation')
  expect((await send('/v1/schedules', { every: '1h', job })).status).toBe(400)
  expect((await send('/v1/flows', { name: 'f', steps: { a: { job } } })).status).toBe(400)
  expect(asked()).toEqual([])
  const kept = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { ...headers, authorization: `Bearer ${acmeKey}` },
    body: JSON.stringify(job),
  })
  expect(kept.status).toBe(202)
})

it('a conversation is continued where it is kept', async () => {
  const id = await createConversation()
  const error = await acme.responses
    .create({ model: 'compatible/small', input: 'hi', conversation: id })
    .catch((refusal: unknown) => refusal)
  expect(error).toMatchObject({ status: 400, param: 'conversation' })
  expect((error as Error).message).toContain('is stored at openai')
})

it('ids cannot lead to other paths of the provider', async () => {
  const id = await createConversation()
  const headers = { authorization: `Bearer ${acmeKey}` }
  for (const path of [`${id}%2F..%2F..%2Fmodels`, `${id}/items/..%2F..`, `..%2Fmodels`, `${id}%3Fx`]) {
    expect((await fetch(`${url}/v1/conversations/${path}`, { headers })).status, path).toBe(404)
  }
  expect(asked()).toEqual([])
})

it('percent-encoded ids lead to the same object', async () => {
  const id = await createConversation()
  upstream.script = (_call, response) => answer(response, 200, { object: 'list', data: [] })
  const headers = { authorization: `Bearer ${acmeKey}` }
  const encoded = id.replace('conv', '%63%6fnv')
  for (const path of [encoded, `${encoded}/items?limit=2&after=a%3Fb`, `${encoded}/items/m%73g_1`]) {
    expect((await fetch(`${url}/v1/conversations/${path}`, { headers })).status, path).toBe(200)
  }
  const at = `/v1/conversations/${id}`
  expect(asked()).toEqual([`GET ${at}`, `GET ${at}/items?limit=2&after=a%3Fb`, `GET ${at}/items/msg_1`])
})

it('errors of the provider come back with their status, without keys; no answer at all is a bad gateway', async () => {
  const id = await createConversation()
  upstream.script = (_call, response) =>
    answer(response, 400, {
      error: { message: 'not with a-secret-of-the-provider', type: 'x', param: 'y', code: 'z' },
    })
  const refused = await acme.conversations.retrieve(id).catch((error) => error)
  expect(refused).toMatchObject({ status: 400, code: 'z', param: 'y' })
  expect(refused.message).not.toContain('a-secret-of-the-provider')
  upstream.script = (_call, response) => response.destroy()
  await expect(acme.conversations.retrieve(id)).rejects.toMatchObject({
    status: 502,
    code: 'connection_error',
  })
})

it('a client that goes away is not an error of the service', async () => {
  const id = await createConversation()
  const leaving = new AbortController()
  let reached = () => {}
  const asking = new Promise<void>((resolve) => {
    reached = resolve
  })
  upstream.script = () => reached()
  const gone = acme.conversations.retrieve(id, { signal: leaving.signal })
  await asking
  const broken = upstream.broken()
  leaving.abort()
  await expect(gone).rejects.toThrow('aborted')
  await broken
  expect(api.logged.filter(({ msg }) => msg === 'request failed')).toEqual([])
})

it('stored completions are read, changed and deleted by the tenant that made them', async () => {
  await api.deps.providers.state.remember('acme', 'chatcmpl-1', 'openai')
  upstream.script = (_call, response) =>
    answer(response, 200, { id: 'chatcmpl-1', object: 'list', data: [], has_more: false })
  await acme.chat.completions.retrieve('chatcmpl-1')
  await acme.chat.completions.update('chatcmpl-1', { metadata: { a: 'b' } })
  await acme.chat.completions.messages.list('chatcmpl-1')
  await expect(other.chat.completions.retrieve('chatcmpl-1')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  await acme.chat.completions.delete('chatcmpl-1')
  await expect(acme.chat.completions.retrieve('chatcmpl-1')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  expect(asked()).toEqual([
    'GET /v1/chat/completions/chatcmpl-1',
    'POST /v1/chat/completions/chatcmpl-1',
    'GET /v1/chat/completions/chatcmpl-1/messages',
    'DELETE /v1/chat/completions/chatcmpl-1',
  ])
})

it('tokens are counted by the provider, or estimated where it cannot', async () => {
  upstream.script = ({ body }, response) =>
    answer(response, 200, { object: 'response.input_tokens', input_tokens: String(body.model).length })
  const count = (model: string) => acme.responses.inputTokens.count({ model, input: 'hello there' })
  expect(await count('openai/small')).toEqual({ object: 'response.input_tokens', input_tokens: 5 })
  expect(upstream.calls[0]!.body).toMatchObject({ model: 'small', input: 'hello there' })
  expect((await count('claude/small')).input_tokens).toBeGreaterThan(0)
  upstream.script = (_call, response) => answer(response, 404, { error: { message: 'no such path' } })
  expect((await count('compatible/small')).input_tokens).toBeGreaterThan(0)
  await expect(count('openai/small')).rejects.toMatchObject({ status: 404 })
  await expect(count('openai/none')).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
})

it('compaction is passed on, and takes its turn in the limits of the lane', async () => {
  upstream.script = (_call, response) =>
    answer(response, 200, {
      id: 'resp_x',
      object: 'response.compaction',
      created_at: 1,
      output: [],
      usage: { total_tokens: 3 },
    })
  const compact = (model: string) => acme.responses.compact({ model, input: 'a long conversation' })
  expect(await compact('openai/narrow')).toMatchObject({ object: 'response.compaction' })
  expect(asked()).toEqual(['POST /v1/responses/compact'])
  const full = await compact('openai/narrow').catch((error) => error)
  expect(full).toMatchObject({ status: 429, code: 'rate_limited' })
  expect(Number(full.headers.get('retry-after'))).toBeGreaterThan(10)
  await expect(compact('claude/small')).rejects.toMatchObject({ status: 400, code: 'unsupported_type' })
  expect(asked()).toHaveLength(1)
})

it('requests that are not jobs keep to the limits of their tenant', async () => {
  upstream.script = (_call, response) => answer(response, 200, { object: 'x', input_tokens: 5, output: [] })
  const ask = async (key: string, path = 'input_tokens') => {
    const response = await fetch(`${url}/v1/responses/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'compatible/small', input: 'hi' }),
    })
    const { error } = (await response.json()) as { error?: { code: string } }
    return [response.status, error?.code, Number(response.headers.get('retry-after'))]
  }
  await api.deps.tenants.pauses.pause('other', 60_000, 'by hand')
  expect(await ask(otherKey)).toEqual([429, 'rate_limited', 60])
  expect(await ask(otherKey, 'compact')).toEqual([429, 'rate_limited', 60])
  await api.deps.tenants.pauses.resume('other')
  expect(await ask(otherKey)).toEqual([200, undefined, 0])

  expect(await ask(slowKey)).toEqual([200, undefined, 0])
  expect(await ask(slowKey, 'compact')).toMatchObject([429, 'rate_limited', expect.any(Number)])

  expect(await ask(poorKey)).toEqual([200, undefined, 0])
  const day = Math.floor(Date.now() / 86_400_000)
  await api.redis.set(`${api.root('poor')}:money:spent:${day}`, 1e9)
  expect(await ask(poorKey)).toMatchObject([429, 'budget_exhausted', expect.any(Number)])

  expect(await ask(strictKey)).toEqual([200, undefined, 0])
  const { budgets } = api.config.tenants.strict!.limits
  for (const window of toWindows({ owner: 'tenant', name: null }, budgets!, Date.now())) {
    await api.redis.hset(`${api.root('strict')}:budget:${accountName(window)}`, 'spent', 2e9)
  }
  expect(await ask(strictKey, 'compact')).toMatchObject([429, 'budget_exhausted', expect.any(Number)])
  expect(asked()).toHaveLength(4)
})

it('a new conversation goes to the named provider, or to the first that keeps conversations', async () => {
  upstream.script = (_call, response) =>
    answer(response, 200, { id: `conv_${++made}`, object: 'conversation' })
  await acme.conversations.create({}, { headers: { 'x-provider': 'compatible' } })
  expect(upstream.calls[0]!.headers.authorization).not.toContain('a-secret')
  await expect(acme.conversations.create({}, { headers: { 'x-provider': 'claude' } })).rejects.toMatchObject({
    status: 400,
    param: 'x-provider',
  })
  await acme.conversations.create()
  expect(upstream.calls[1]!.headers.authorization).toContain('a-secret')
})
