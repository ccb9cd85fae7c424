import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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
  api = await createTestApi({ tenants: testTenants })
})
afterEach(() => api.close())

const list = async (query: string, key = opsKey) => {
  const answer = await api.app.inject({
    url: `/v1/jobs/all?${query}`,
    headers: { authorization: `Bearer ${key}` },
  })
  return { status: answer.statusCode, body: answer.json() }
}

const create = async (key: string, members = {}): Promise<string> => {
  const answer = await api.app.inject({
    method: 'POST',
    url: '/v1/jobs',
    headers: { authorization: `Bearer ${key}` },
    payload: chatJob(members),
  })
  expect(answer.statusCode).toBe(202)
  return answer.json().id
}

describe('GET /v1/jobs/all', () => {
  it('has the jobs of all tenants with their names, by pages and by all filters of a list', async () => {
    const mine = await create(acmeKey, { group: 'a', metadata: { user: '42' } })
    const theirs = await create(otherKey, { group: 'a' })
    const both = await list('')
    expect(both.status).toBe(200)
    expect(both.body.data.map(({ id, tenant }: { id: string; tenant: string }) => [id, tenant])).toEqual([
      [theirs, 'other'],
      [mine, 'acme'],
    ])
    const first = await list('limit=1')
    expect(first.body).toMatchObject({ has_more: true, data: [{ id: theirs }] })
    const second = await list(`limit=1&after=${first.body.last_id}`)
    expect(second.body).toMatchObject({ has_more: false, data: [{ id: mine, tenant: 'acme' }] })
    for (const query of ['metadata.user=42', 'group=a&metadata.user=42&status=queued', `id=${mine}`]) {
      expect((await list(query)).body.data, query).toMatchObject([{ id: mine, tenant: 'acme' }])
    }
    for (const query of ['metadata.user=43', 'error_code=timeout', 'status=failed', 'id=job_nothing'])
      expect((await list(query)).body, query).toMatchObject({ data: [], has_more: false, last_id: null })
  })

  it('is for administrators, and names what is wrong with a query', async () => {
    expect(await list('', acmeKey)).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } })
    for (const [query, param] of [
      ['after=job_1', 'query.after'],
      ['id=nothing', 'query.id'],
      ['creatd_after=2026-01-01', 'query.creatd_after'],
      ['metadata.=1', 'query.metadata.'],
    ]) {
      expect(await list(query!)).toMatchObject({ status: 400, body: { error: { param } } })
    }
  })
})
