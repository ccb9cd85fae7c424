import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { acmeKey, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'
import type { Running } from '../../helpers/api-worker.ts'
import { until } from '../../helpers/store.ts'
import { chunk, completion } from '../../helpers/upstream.ts'

let api: TestApi
let url = ''
beforeEach(async () => {
  api = await createTestApi({ limits: { heartbeat: 30 } })
  url = await api.listen()
})
afterEach(() => api.close())

let texts = 0
/** A request unlike any other. */
const ask = (
  members: JsonObject = {},
  { headers = {}, signal }: { headers?: Record<string, string>; signal?: AbortSignal } = {},
) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model: 'openai/small',
      messages: [{ role: 'user', content: `hello ${++texts}` }],
      ...members,
    }),
    ...(signal ? { signal } : {}),
  })
const statusOf = async ({ claimed }: Running) =>
  (await api.redis.hget(`${api.root()}:job:${claimed.id}`, 'status')) ?? 'gone'
const errorOf = async (response: Response) => ({
  status: response.status,
  shouldRetry: response.headers.get('x-should-retry'),
  retryAfter: response.headers.get('retry-after'),
  error: ((await response.json()) as { error: JsonObject }).error,
})

const [opening, rest] = [chunk({ role: 'assistant', content: 'Hel' }), chunk({ content: 'lo' }, 'stop')]

/** A stream that has begun. */
async function begin() {
  const asked = ask({ stream: true })
  const running = await api.worker.next()
  await api.worker.stream(running, [opening])
  return { response: await asked, running }
}

describe('a streamed answer', () => {
  it('fills silences with comments once it has begun', async () => {
    const { response, running } = await begin()
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (text.split(': keep-alive\n').length < 3) text += (await reader.read()).value
    expect(text.replaceAll(': keep-alive\n', '')).toBe(`data: ${JSON.stringify(opening)}\n\n`)
    await api.worker.stream(running, [rest])
    await api.worker.complete(running, { result: completion('Hello') })
    text = ''
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    expect(text.replaceAll(': keep-alive\n', '')).toBe(`data: ${JSON.stringify(rest)}\n\ndata: [DONE]\n\n`)
  })

  it('ends with an error where chunks were lost', async () => {
    const { response, running } = await begin()
    await api.worker.complete(running, { result: completion('Hello') })
    const text = await response.text()
    expect(text).toContain('"code":"lost_chunks"')
    expect(text).not.toContain('[DONE]')
  })

  it('ends with an error, and its job with it, when the attempt fails midway', async () => {
    const { response, running } = await begin()
    await api.worker.retry(running, Date.now())
    const text = await response.text()
    expect(text).toMatch(/^data: .*\n\n(: keep-alive\n)*data: \{"error":.*"code":"boom"\}\}\n\n$/)
    await until(async () => (await statusOf(running)) === 'cancelled')
  })

  it('shows the failure that ends the job midway as the provider reported it', async () => {
    const { response, running } = await begin()
    await api.worker.fail(running, { provider_error: { message: 'Too hot.', code: 'heat' } })
    expect(await response.text()).toContain(
      'data: {"error":{"message":"Too hot.","code":"heat","type":"server_error","param":null}}\n\n',
    )
  })
})

describe('a held answer', () => {
  it('outlives an attempt that fails before anything was sent', async () => {
    const asked = ask({ stream: true })
    await api.worker.retry(await api.worker.next(), Date.now())
    const again = await api.worker.next()
    await api.worker.stream(again, [opening, rest])
    await api.worker.complete(again, { result: completion('Hello') })
    const text = await (await asked).text()
    expect(text.match(/^data: .*/gm)).toHaveLength(3)
    expect(text).toContain('[DONE]')
  })

  it('says that its job was cancelled by another client, or deleted', async () => {
    const asked = [ask(), ask({ stream: true })]
    const ids = [(await api.worker.next()).claimed.id, (await api.worker.next()).claimed.id]
    await api.app.inject({ method: 'POST', url: `/v1/jobs/${ids[0]}/cancel` })
    await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${ids[1]}` })
    for (const response of await Promise.all(asked)) {
      expect(await errorOf(response)).toMatchObject({
        status: 409,
        shouldRetry: 'false',
        error: { code: 'job_cancelled', type: 'invalid_request_error', param: null },
      })
    }
  })

  it('is refused when the server closes, and its job goes on', async () => {
    const asked = ask()
    const running = await api.worker.next()
    const { response: stream, running: streaming } = await begin()
    const closed = api.app.close()
    const response = await asked
    expect(response.headers.get('x-job-id')).toBe(running.claimed.id)
    expect(await errorOf(response)).toMatchObject({
      status: 503,
      shouldRetry: null,
      retryAfter: '1',
      error: { code: 'unavailable' },
    })
    expect(await stream.text()).toMatch(/data: \{"error":\{.*"code":"unavailable"\}\}\n\n$/)
    await closed
    expect([await statusOf(running), await statusOf(streaming)]).toEqual(['running', 'running'])
  })

  it('leaves nothing behind when its client has gone away', async () => {
    const leaving = new AbortController()
    const asked = ask({}, { signal: leaving.signal })
    const running = await api.worker.next()
    leaving.abort()
    await expect(asked).rejects.toThrow()
    await until(async () => (await statusOf(running)) === 'cancelled')
    expect(await api.worker.stream(running, [opening])).toBe(false)
    expect(api.logged).toEqual([])
  })
})

describe('a request with an Idempotency-Key', () => {
  const headers = { 'idempotency-key': 'the-key' }
  const messages = [{ role: 'user', content: 'the same' }]

  it('returns the job whose client went away', async () => {
    const leaving = new AbortController()
    const first = ask({ messages }, { headers, signal: leaving.signal })
    const running = await api.worker.next()
    leaving.abort()
    await expect(first).rejects.toThrow()
    await until(async () => (await statusOf(running)) === 'cancelled')
    const second = ask({ messages }, { headers })
    const again = await api.worker.next()
    expect(again.claimed.id).toBe(running.claimed.id)
    await api.worker.complete(again, { result: completion('here') })
    expect(await (await second).json()).toEqual(completion('here'))
  })

  it('waits for the job that another request made, and does not cancel it when its client leaves', async () => {
    const first = ask({ messages, stream: true }, { headers })
    const running = await api.worker.next()
    const leaving = new AbortController()
    const second = ask({ messages, stream: true }, { headers, signal: leaving.signal })
    const third = ask({ messages, stream: true }, { headers })
    const channel = `${api.root()}:live:${running.claimed.id}`
    await until(async () => Number((await api.redis.pubsub('NUMSUB', channel))[1]) === 1)
    leaving.abort()
    await expect(second).rejects.toThrow()
    await api.worker.stream(running, [opening, rest])
    await api.worker.complete(running, { result: completion('Hello') })
    const texts = [await (await first).text(), await (await third).text()]
    for (const text of texts) expect(text).toContain('[DONE]')
    // The chunks of a job with earlier attempts may be of those attempts, so a late client gets the whole answer.
    expect(texts[1]).toContain('"content":"Hello"')
  })
})

it('keeps the answers of tenants separate and asks for a key in the shape of OpenAI', async () => {
  const guarded = await createTestApi({ tenants: testTenants })
  const address = await guarded.listen()
  const send = (key: string) =>
    fetch(`${address}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: 'openai/embed', input: 'a' }),
    })
  const refused = await errorOf(await send('no such key'))
  expect(refused).toMatchObject({
    status: 401,
    shouldRetry: 'false',
    error: { type: 'authentication_error', param: null, code: 'unauthorized' },
  })
  const result = { object: 'list', data: [{ object: 'embedding', index: 0, embedding: 'AACAPw==' }] }
  for (const key of [acmeKey, otherKey]) {
    const asked = send(key)
    await guarded.worker.complete(await guarded.worker.next('openai/embed'), { result })
    const response = await asked
    expect(response.headers.get('x-cache')).toBe('miss')
    expect(await response.json()).toMatchObject({ data: [{ embedding: [1] }] })
  }
  expect((await send(acmeKey)).headers.get('x-cache')).toBe('hit')
  expect((await fetch(`${address}/v1/models`)).status).toBe(401)
  await guarded.close()
})
