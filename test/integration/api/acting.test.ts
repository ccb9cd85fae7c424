import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  acmeKey,
  chatJob,
  createTestApi,
  opsKey,
  otherKey,
  type TestApi,
  testTenants,
} from '../../helpers/api.ts'

let api: TestApi
beforeEach(async () => {
  api = await createTestApi({ tenants: testTenants, logLevel: 'info' })
})
afterEach(() => api.close())

type Call = { method?: 'GET' | 'POST' | 'DELETE'; url: string; payload?: object }

const call = (key: string, { url, method = 'GET', payload }: Call, tenant?: string) =>
  api.app.inject({
    method,
    url,
    headers: {
      authorization: `Bearer ${key}`,
      'x-request-id': 'same',
      ...(tenant === undefined ? {} : { 'x-tenant': tenant }),
    },
    ...(payload === undefined ? {} : { payload }),
  })

const createId = async (key: string, tenant?: string): Promise<string> => {
  const created = await call(
    key,
    { method: 'POST', url: '/v1/jobs', payload: chatJob({ group: 'g' }) },
    tenant,
  )
  expect(created.statusCode).toBe(202)
  return created.json().id
}

describe('an admin key with x-tenant', () => {
  it('reads and steers what the named tenant has, as that tenant would', async () => {
    const id = await createId(acmeKey)
    expect((await call(opsKey, { url: `/v1/jobs/${id}` })).statusCode).toBe(404)
    expect((await call(opsKey, { url: `/v1/jobs/${id}` }, 'acme')).json()).toMatchObject({ id })
    expect((await call(opsKey, { url: `/v1/groups/g` }, 'acme')).json()).toMatchObject({ total: 1 })
    const cancelled = await call(opsKey, { method: 'POST', url: `/v1/jobs/${id}/cancel` }, 'acme')
    expect(cancelled.json()).toMatchObject({ id, status: 'cancelled' })
  })

  it('makes jobs that belong to the tenant, within its limits', async () => {
    const id = await createId(opsKey, 'acme')
    expect((await call(acmeKey, { url: `/v1/jobs/${id}` })).statusCode).toBe(200)
    expect((await call(opsKey, { url: `/v1/jobs/${id}` })).statusCode).toBe(404)
  })

  it('gets 404 for a tenant that does not exist', async () => {
    for (const name of ['nobody', '', 'acme, other', '__proto__', 'toString']) {
      const answer = await call(opsKey, { url: '/v1/jobs' }, name)
      expect([answer.statusCode, answer.json().error.code], name).toEqual([404, 'not_found'])
    }
  })

  it('is named in the log with the tenant for which it acts, and its request', async () => {
    const id = await createId(acmeKey)
    await call(opsKey, { url: `/v1/jobs/${id}/request` }, 'acme')
    await call(opsKey, { url: '/v1/jobs' }, 'ops')
    expect(api.logged).toMatchObject([
      {
        acting: { admin: 'ops', tenant: 'acme' },
        path: `/v1/jobs/${id}/request`,
        method: 'GET',
        status: 200,
        request_id: 'same',
      },
    ])
  })
})

it('refuses x-tenant from any other key, its own name included', async () => {
  const id = await createId(acmeKey)
  const bodies = await Promise.all(
    ['acme', 'other', 'nobody'].map(async (name) => {
      const answer = await call(otherKey, { url: `/v1/jobs/${id}` }, name)
      expect(answer.statusCode).toBe(403)
      return answer.body
    }),
  )
  // The answer does not show which tenants exist.
  expect(new Set(bodies).size).toBe(1)
  expect(JSON.parse(bodies[0]!).error).toMatchObject({ code: 'forbidden', param: 'x-tenant' })
})

it('ignores x-tenant where no tenants are configured', async () => {
  const open = await createTestApi()
  onTestFinished(() => open.close())
  const answer = await open.app.inject({ url: '/v1/jobs', headers: { 'x-tenant': 'nobody' } })
  expect(answer.statusCode).toBe(200)
})

describe('the request of a job', () => {
  it('is what its tenant sent, and visible to nobody else', async () => {
    const id = await createId(acmeKey)
    const url = `/v1/jobs/${id}/request`
    expect((await call(acmeKey, { url })).json()).toEqual({
      object: 'job.request',
      id,
      body: chatJob().body,
    })
    expect((await call(otherKey, { url })).body).toBe(
      (await call(otherKey, { url: '/v1/jobs/job_1/request' })).body,
    )
  })
})
