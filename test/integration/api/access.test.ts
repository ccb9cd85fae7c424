import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  acmeKey,
  chatJob,
  createTestApi,
  opsKey,
  otherKey,
  type TestApi,
  testTenants,
} from '../../helpers/api.ts'

describe('where tenants are configured', () => {
  let api: TestApi
  let id: string
  beforeAll(async () => {
    api = await createTestApi({ tenants: testTenants })
    const response = await api.app.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: { authorization: `Bearer ${acmeKey}` },
      payload: chatJob({ group: 'nightly' }),
    })
    id = response.json().id
  })
  afterAll(() => api.close())

  it.each([
    undefined,
    'Bearer',
    'Bearer wrong-key-0123456789',
    `Basic ${acmeKey}`,
    `Bearer ${acmeKey} ${acmeKey}`,
  ])('refuses the header %j with 401 and says which scheme to use', async (authorization) => {
    const headers = authorization === undefined ? {} : { authorization }
    const response = await api.app.inject({ url: `/v1/jobs/${id}`, headers })
    expect(response.statusCode).toBe(401)
    expect(response.headers['www-authenticate']).toBe('Bearer')
    expect(response.headers['x-should-retry']).toBe('false')
    expect(response.json().error).toMatchObject({ code: 'unauthorized', type: 'authentication_error' })
  })

  it('takes the scheme in any case', async () => {
    const response = await api.app.inject({
      url: `/v1/jobs/${id}`,
      headers: { authorization: `bearer ${acmeKey}` },
    })
    expect(response.statusCode).toBe(200)
  })

  it("takes a key in the header of Azure's clients, unless there is an Authorization", async () => {
    const ask = (headers: Record<string, string>) => api.app.inject({ url: `/v1/jobs/${id}`, headers })
    expect((await ask({ 'api-key': acmeKey })).statusCode).toBe(200)
    expect((await ask({ 'api-key': otherKey })).statusCode).toBe(404)
    expect((await ask({ 'api-key': acmeKey, authorization: 'Bearer wrong' })).statusCode).toBe(401)
  })

  it.each(['/healthz', '/readyz', '/openapi.json', '/docs/', '/docs/js/scalar.js'])(
    'serves %s without a key',
    async (url) => {
      expect((await api.app.inject({ url })).statusCode).toBe(200)
    },
  )

  it('answers an unknown path with 404, with and without a key', async () => {
    expect((await api.app.inject({ url: '/nope' })).statusCode).toBe(404)
  })

  it('lets only administrators use the operations routes', async () => {
    const get = (key: string) =>
      api.app.inject({ url: '/v1/lanes', headers: { authorization: `Bearer ${key}` } })
    const refused = await get(acmeKey)
    expect(refused.statusCode).toBe(403)
    expect(refused.json().error).toMatchObject({ code: 'forbidden', type: 'permission_error' })
    expect((await get(opsKey)).statusCode).toBe(200)
  })

  it.each([
    ['GET', (job: string) => `/v1/jobs/${job}`],
    ['GET', (job: string) => `/v1/jobs/${job}?wait=0.01`],
    ['GET', (job: string) => `/v1/jobs/${job}/attempts`],
    ['GET', (job: string) => `/v1/jobs/${job}/events`],
    ['GET', (job: string) => `/v1/jobs/${job}/deliveries`],
    ['POST', (job: string) => `/v1/jobs/${job}/cancel`],
    ['POST', (job: string) => `/v1/jobs/${job}/retry`],
    ['DELETE', (job: string) => `/v1/jobs/${job}`],
  ] as const)('answers %s of a foreign job with the bytes of a missing one', async (method, path) => {
    const ask = async (job: string) => {
      const response = await api.app.inject({
        method,
        url: path(job),
        headers: { authorization: `Bearer ${otherKey}`, 'x-request-id': 'same' },
      })
      const { date, ...headers } = response.headers
      return { status: response.statusCode, headers, body: response.body, dated: date !== undefined }
    }
    const foreign = await ask(id)
    expect(foreign.status).toBe(404)
    expect(foreign).toEqual(await ask('job_none'))
  })

  it('answers a foreign group with the bytes of a missing one, and lists no foreign job', async () => {
    const headers = { authorization: `Bearer ${otherKey}` }
    const foreign = await api.app.inject({ url: '/v1/groups/nightly', headers })
    const missing = await api.app.inject({ url: '/v1/groups/missing', headers })
    expect([foreign.statusCode, foreign.body]).toEqual([404, missing.body])
    expect((await api.app.inject({ url: '/v1/jobs', headers })).json().data).toEqual([])
  })
})

describe('where none are configured', () => {
  it('asks for no key and ignores those sent', async () => {
    const api = await createTestApi()
    for (const authorization of ['Bearer anything', 'nonsense', undefined]) {
      const headers = authorization === undefined ? {} : { authorization }
      expect((await api.app.inject({ url: '/v1/jobs', headers })).statusCode).toBe(200)
    }
    await api.close()
  })
})
