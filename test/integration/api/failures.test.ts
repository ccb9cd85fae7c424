import { randomBytes } from 'node:crypto'
import { type IncomingMessage, request } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FailedRequest } from '../../../jobs/failed.ts'
import { acmeKey, chatJob, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'

let api: TestApi
beforeEach(async () => {
  api = await createTestApi({ tenants: testTenants })
})
afterEach(() => api.close())

const as = (key: string) => ({ authorization: `Bearer ${key}` })
const get = (url: string, key = acmeKey) => api.app.inject({ url, headers: as(key) })
const post = (url: string, payload?: object, key = acmeKey) =>
  api.app.inject({ method: 'POST', url, headers: as(key), ...(payload && { payload }) })

let texts = 0
async function fail(members: Record<string, unknown> = {}, code = 'boom') {
  const id = (await post('/v1/jobs', chatJob(members, `text ${++texts}`))).json().id as string
  await api.worker.finishFailed(id, { code })
  return id
}

const linesOf = (body: string) =>
  body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FailedRequest)

describe('GET /v1/failures', () => {
  it('counts the failed jobs of the tenant, and of no other', async () => {
    await fail()
    await fail()
    await fail({}, 'timeout')
    const response = await get('/v1/failures')
    expect(response.statusCode).toBe(200)
    expect(response.json()).toMatchObject({
      object: 'list',
      has_more: false,
      total: 3,
      data: [
        { lane: 'openai/small', code: 'boom', count: 2, retryable: true },
        { lane: 'openai/small', code: 'timeout', count: 1 },
      ],
    })
    expect((await get('/v1/failures', otherKey)).json()).toMatchObject({ total: 0, data: [] })
    expect((await api.app.inject({ url: '/v1/failures' })).statusCode).toBe(401)
  })
})

describe('POST /v1/jobs/retry', () => {
  it('counts in a dry run and queues without one', async () => {
    const id = await fail()
    await fail({}, 'timeout')
    const filter = { error_code: 'boom', type: 'chat', failed_after: '2020-01-01T00:00:00+01:00' }
    expect((await post('/v1/jobs/retry', { ...filter, dry_run: true })).json()).toEqual({
      retried: 0,
      matched: 1,
      dry_run: true,
    })
    expect((await get(`/v1/jobs/${id}`)).json()).toMatchObject({ status: 'failed', redrives: 0 })
    expect((await post('/v1/jobs/retry', filter, otherKey)).json()).toMatchObject({ matched: 0 })
    expect((await post('/v1/jobs/retry', filter)).json()).toEqual({ retried: 1, matched: 1, dry_run: false })
    expect((await get(`/v1/jobs/${id}`)).json()).toMatchObject({ status: 'queued', redrives: 0 })
    expect((await post('/v1/jobs/retry')).json()).toMatchObject({ retried: 1 })
  })

  it.each([
    [{ failed_after: 'yesterday' }, 'failed_after'],
    [{ type: 'song' }, 'type'],
    [{ dry_run: 'yes' }, 'dry_run'],
    [{ limit: 100_001 }, 'limit'],
    [{ status: 'failed' }, 'status'],
  ])('refuses %j', async (payload, param) => {
    const response = await post('/v1/jobs/retry', payload)
    expect([response.statusCode, response.json().error.param]).toEqual([400, param])
  })
})

describe('GET /v1/failures/export', () => {
  it('gives each job with a request that a bulk submission takes', async () => {
    const members = { group: 'nightly', metadata: { a: 'b' }, cache: 'off', max_attempts: 2 }
    const id = await fail(members)
    await fail({}, 'timeout')
    const response = await get('/v1/failures/export?error_code=boom&group=nightly')
    expect(response.headers['content-type']).toBe('application/x-ndjson; charset=utf-8')
    const [line, ...others] = linesOf(response.body)
    expect(others).toEqual([])
    expect(line).toMatchObject({ job: { id, status: 'failed', error: { code: 'boom' } }, create: members })
    const bulk = await api.app.inject({
      method: 'POST',
      url: '/v1/jobs/bulk',
      headers: { ...as(acmeKey), 'content-type': 'application/x-ndjson' },
      payload: JSON.stringify(line!.create),
    })
    const made = JSON.parse(bulk.body) as { id: string }
    expect((await get(`/v1/jobs/${made.id}`)).json()).toMatchObject({
      status: 'queued',
      ...{ group: 'nightly' },
    })
  })

  it('is empty where nothing matches, and refuses what it does not know', async () => {
    await fail()
    const empty = await get('/v1/failures/export?failed_before=2020-01-01T00:00:00Z')
    expect([empty.statusCode, empty.body]).toEqual([200, ''])
    expect(linesOf((await get('/v1/failures/export', otherKey)).body)).toEqual([])
    expect(linesOf((await get('/v1/failures/export?limit=1')).body)).toHaveLength(1)
    expect((await get('/v1/failures/export?limit=0')).statusCode).toBe(400)
    expect((await get('/v1/failures/export?failed_before=soon')).json().error.param).toBe(
      'query.failed_before',
    )
  })

  it('reads nothing for a HEAD', async () => {
    const response = await api.app.inject({
      method: 'HEAD',
      url: '/v1/failures/export',
      headers: as(acmeKey),
    })
    expect(response.statusCode).toBe(404)
  })

  async function failLarge(): Promise<string[]> {
    const ids: string[] = []
    for (let count = 0; count < 16; count++) {
      const padding = randomBytes(640 * 1024).toString('base64')
      ids.push(await fail({ body: { ...chatJob().body, padding } }))
    }
    return ids
  }
  const open = (path: string) =>
    new Promise<IncomingMessage>((resolve) =>
      request(path, { headers: as(acmeKey) })
        .once('response', resolve)
        .end(),
    )

  it('breaks off when its key is revoked, so that it does not look complete', async () => {
    await failLarge()
    const waiting = (await post('/v1/jobs', chatJob({}, 'one that waits'))).json().id as string
    const url = await api.listen()
    const response = await open(`${url}/v1/failures/export`)
    const events = await open(`${url}/v1/jobs/${waiting}/events`)
    api.config.tenants.acme!.keys = []
    // Both are read together.
    for await (const _ of events);
    await expect(Array.fromAsync(response)).rejects.toThrow('aborted')
  })

  it('reads no further than the client does', async () => {
    const ids = await failLarge()
    const url = await api.listen()
    const response = await open(`${url}/v1/failures/export`)
    // The sockets hold a part of it; the last ones were not read when the client left.
    await new Promise((resolve) => response.once('readable', resolve))
    for (const id of ids.slice(-2))
      await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${id}`, headers: as(acmeKey) })
    let body = ''
    for await (const chunk of response.setEncoding('utf8')) body += chunk
    expect(linesOf(body).map(({ job }) => job.id)).toEqual(ids.slice(0, -2))
  })
})
