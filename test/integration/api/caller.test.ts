import { afterEach, expect, it } from 'vitest'
import {
  acmeKey,
  chatJob,
  createTestApi,
  opsKey,
  type TestApi,
  type TestApiOptions,
  testTenants,
} from '../../helpers/api.ts'

const viewerKey = 'viewer-key-0123456789'

let api: TestApi | null = null
afterEach(() => api?.close())

const open = async (options: TestApiOptions = {}) => {
  api = await createTestApi(options)
  return async (
    url: string,
    key: string,
    more: { method?: 'POST'; payload?: object; tenant?: string } = {},
  ) => {
    const { tenant, ...request } = more
    const headers = { authorization: `Bearer ${key}`, ...(tenant && { 'x-tenant': tenant }) }
    const answer = await api!.app.inject({ url, headers, ...request })
    return { status: answer.statusCode, body: answer.json() }
  }
}

it('tells what each key may do, and how its tenant stands', async () => {
  const ask = await open({ tenants: { ...testTenants, viewers: { keys: [viewerKey], admin: 'read' } } })
  expect((await ask('/v1/jobs', acmeKey, { method: 'POST', payload: chatJob() })).status).toBe(202)
  expect((await ask('/v1/caller', acmeKey)).body).toMatchObject({
    ...{ tenant: 'acme', key: null, scopes: ['jobs', 'read'], reads_all: false, open: false },
    figures: { id: 'acme', counts: { queued: 1 }, max_queued: 1000 },
  })
  expect((await ask('/v1/caller', opsKey)).body).toMatchObject({ scopes: ['admin'], reads_all: true })
  const viewer = await ask('/v1/caller', viewerKey)
  expect(viewer.body).toMatchObject({ tenant: 'viewers', scopes: ['read'], reads_all: true })
  // It sees what an administrator sees, of every tenant, and changes nothing.
  expect((await ask('/v1/jobs/all', viewerKey)).body.data).toMatchObject([{ tenant: 'acme' }])
  const { data } = (await ask('/v1/jobs', viewerKey, { tenant: 'acme' })).body
  expect(data).toHaveLength(1)
  const path = `/v1/jobs/${data[0].id}`
  expect((await ask(path, viewerKey, { tenant: 'acme' })).status).toBe(200)
  for (const tenant of ['acme', 'viewers']) {
    const refused = await ask(`${path}/cancel`, viewerKey, { method: 'POST', tenant })
    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } })
  }
})

it('tells an open service that it is one', async () => {
  const ask = await open()
  expect((await ask('/v1/caller', 'any')).body).toMatchObject({
    ...{ tenant: 'default', scopes: ['admin'], reads_all: true, open: true },
  })
})
