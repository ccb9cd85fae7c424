import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { acmeKey, chatJob, createTestApi, type TestApi, testTenants } from '../../helpers/api.ts'

const page = 'https://app.example'
const stranger = 'https://evil.example'
const key = { authorization: `Bearer ${acmeKey}` }
const preflight = {
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization,content-type',
}

describe('pages of other origins', () => {
  let api: TestApi
  let closed: TestApi
  let open: TestApi
  beforeAll(async () => {
    const server = { cors: { origins: ['https://App.example:443'] } }
    ;[api, closed, open] = await Promise.all([
      createTestApi({ tenants: testTenants, server }),
      createTestApi({ tenants: testTenants }),
      createTestApi({ server }),
    ])
  })
  afterAll(() => Promise.all([api, closed, open].map((one) => one.close())))

  it('that are listed learn what they may send, without a key', async () => {
    const answer = await api.app.inject({
      method: 'OPTIONS',
      url: '/v1/chat/completions',
      headers: { origin: page, ...preflight },
    })
    expect(answer.statusCode).toBe(204)
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': page,
      'access-control-allow-methods': expect.stringContaining('DELETE'),
      'access-control-allow-headers': 'authorization,content-type',
    })
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined()
  })

  it('that are listed may read answers, their headers, and refusals', async () => {
    const listed = await api.app.inject({ url: '/v1/models', headers: { origin: page, ...key } })
    expect(listed.statusCode).toBe(200)
    expect(listed.headers['access-control-allow-origin']).toBe(page)
    const exposed = String(listed.headers['access-control-expose-headers']).split(', ')
    expect(exposed).toEqual(expect.arrayContaining(['retry-after', 'request-id', 'x-request-id']))
    for (const url of ['/v1/models', '/v1/jobs/nope']) {
      const refused = await api.app.inject({ url, headers: { origin: page } })
      expect([url, refused.statusCode]).toEqual([url, 401])
      expect(refused.headers['access-control-allow-origin']).toBe(page)
    }
  })

  it.each<[string, () => TestApi, Record<string, string>]>([
    ['of an origin that is not listed', () => api, { origin: stranger }],
    ['of an origin that only begins like one', () => api, { origin: `${page}.evil.example` }],
    ['of any origin while none is listed', () => closed, { origin: page }],
  ])('%s are given nothing to read', async (_name, where, headers) => {
    const asked = await where().app.inject({
      method: 'OPTIONS',
      url: '/v1/jobs',
      headers: { ...headers, ...preflight },
    })
    const answer = await where().app.inject({ url: '/v1/models', headers: { ...headers, ...key } })
    expect(asked.statusCode).toBe(404)
    for (const each of [asked, answer]) expect(each.headers['access-control-allow-origin']).toBeUndefined()
  })

  it('that are listed may also use a service without keys, and nobody else may', async () => {
    const ask = (origin: string) =>
      open.app.inject({
        url: '/v1/models',
        headers: { host: 'localhost', origin, 'sec-fetch-site': 'cross-site' },
      })
    expect((await ask(page)).statusCode).toBe(200)
    expect((await ask(stranger)).statusCode).toBe(403)
  })

  it('that are listed may not read the dashboard or the metrics', async () => {
    for (const url of ['/metrics', '/healthz', '/']) {
      const answer = await api.app.inject({ url, headers: { origin: page, ...key } })
      expect([url, answer.headers['access-control-allow-origin']]).toEqual([url, undefined])
    }
  })
})

describe('Accept-Encoding', () => {
  let api: TestApi
  let id: string
  beforeAll(async () => {
    api = await createTestApi({ tenants: testTenants, server: { early_headers: '50ms' } })
    const answer = await api.app.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: key,
      payload: chatJob({ metadata: { one: 'x'.repeat(500), two: 'y'.repeat(500), three: 'z'.repeat(500) } }),
    })
    id = answer.json().id
  })
  afterAll(() => api.close())
  const read = (encoding: string, url = `/v1/jobs/${id}`) =>
    api.app.inject({ url, headers: { ...key, 'accept-encoding': encoding } })

  it.each([
    ['gzip', gunzipSync],
    ['br', brotliDecompressSync],
    ['zstd', zstdDecompressSync],
    ['gzip;q=0.1, zstd;q=0, br', brotliDecompressSync],
  ])('%s is honoured', async (encoding, decompress) => {
    const plain = await read('identity')
    const packed = await read(encoding)
    expect(plain.rawPayload.length).toBeGreaterThan(1024)
    expect(packed.headers['content-encoding']).toMatch(/^(?:gzip|br|zstd)$/)
    expect(packed.headers.vary).toContain('accept-encoding')
    expect(packed.rawPayload.length).toBeLessThan(plain.rawPayload.length)
    expect(JSON.parse(decompress(packed.rawPayload).toString())).toEqual(plain.json())
  })

  it.each(['', 'identity', 'compress', 'deflate;q=0.5'])(
    '%j leaves the answer unchanged',
    async (encoding) => {
      const answer = await read(encoding)
      expect(answer.headers['content-encoding']).toBeUndefined()
      expect(answer.json().id).toBe(id)
    },
  )

  it('compresses nothing small and no events', async () => {
    expect((await read('gzip', '/v1/jobs/job_nope')).headers['content-encoding']).toBeUndefined()
    const url = await api.listen()
    const abort = new AbortController()
    const events = await fetch(`${url}/v1/jobs/${id}/events`, {
      headers: { ...key, 'accept-encoding': 'gzip, br, zstd' },
      signal: abort.signal,
    })
    expect(events.headers.get('content-type')).toContain('text/event-stream')
    expect(events.headers.get('content-encoding')).toBeNull()
    abort.abort()
    const encoded = { ...key, 'accept-encoding': 'gzip, br, zstd', 'content-type': 'application/json' }
    const chat = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: encoded,
      body: JSON.stringify({
        model: 'openai/small',
        stream: true,
        messages: [{ role: 'user', content: 'a' }],
      }),
    })
    expect(chat.headers.get('content-type')).toContain('text/event-stream')
    expect(chat.headers.get('content-encoding')).toBeNull()
    await chat.body?.cancel()
  })
})
