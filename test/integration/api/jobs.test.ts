import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { acmeKey, chatJob, createTestApi, type TestApi, testTenants } from '../../helpers/api.ts'

let api: TestApi
beforeEach(() => {
  api = createTestApi()
})
afterEach(() => api.close())

const create = (payload: object = chatJob(), headers: Record<string, string> = {}) =>
  api.app.inject({ method: 'POST', url: '/v1/jobs', headers, payload })
const createId = async (payload?: object) => (await create(payload)).json().id as string
const get = (url: string, headers: Record<string, string> = {}) => api.app.inject({ url, headers })
const post = (url: string, payload?: object) =>
  api.app.inject({ method: 'POST', url, ...(payload && { payload }) })

describe('creating a job', () => {
  it('answers 202 with the job and its place', async () => {
    const response = await create(chatJob({ group: 'nightly', metadata: { a: 'b' } }))
    expect(response.statusCode).toBe(202)
    const job = response.json()
    expect(job).toMatchObject({ object: 'job', status: 'queued', group: 'nightly', metadata: { a: 'b' } })
    expect(response.headers.location).toBe(`/v1/jobs/${job.id}`)
    expect((await get(response.headers.location as string)).json()).toEqual(job)
  })

  it('answers 200 where the job is finished already', async () => {
    const original = api.jobs.create
    api.jobs.create = async (job) => {
      const outcome = await original(job)
      if (outcome.kind !== 'created') return outcome
      return {
        kind: 'created',
        job: { ...outcome.job, status: 'completed', cache: 'hit', result: { a: [1] } },
      }
    }
    const response = await create()
    expect(response.statusCode).toBe(200)
    expect(response.json()).toMatchObject({ status: 'completed', cache: 'hit', result: { a: [1] } })
    expect(response.headers['idempotent-replayed']).toBeUndefined()
  })

  it('resolves an alias', async () => {
    const job = (await create({ type: 'response', body: { model: 'fast', input: 'hi' } })).json()
    expect(job).toMatchObject({ model: 'fast', lane: 'openai/small', type: 'response' })
  })

  it('is the same job under the same idempotency key, and 422 with another payload', async () => {
    const first = await create(chatJob(), { 'idempotency-key': '"k-1"' })
    const again = await create(chatJob(), { 'idempotency-key': 'k-1' })
    expect(first.headers['idempotent-replayed']).toBeUndefined()
    expect([again.statusCode, again.headers['idempotent-replayed'], again.json().id]).toEqual([
      200,
      'true',
      first.json().id,
    ])
    const other = await create(chatJob({}, 'other'), { 'idempotency-key': 'k-1' })
    expect([other.statusCode, other.json().error.code]).toEqual([422, 'idempotency_key_reused'])
    expect(other.headers['x-should-retry']).toBe('false')
  })

  it('is refused with 429 and Retry-After when the queue of the tenant is full', async () => {
    const full = createTestApi({
      tenants: { ...testTenants, acme: { keys: [acmeKey], limits: { max_queued: 1 } } },
    })
    const submit = () =>
      full.app.inject({
        method: 'POST',
        url: '/v1/jobs',
        headers: { authorization: `Bearer ${acmeKey}` },
        payload: chatJob(),
      })
    expect((await submit()).statusCode).toBe(202)
    const refused = await submit()
    expect([refused.statusCode, refused.json().error.code]).toEqual([429, 'queue_full'])
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    await full.close()
  })
})

describe('a refusal of the store', () => {
  it.each(['rate_limited', 'budget_exhausted'] as const)(
    'as %s is a 429 that says when to come again',
    async (code) => {
      api.jobs.create = async () => ({ kind: 'refused', code, retryAfterMs: 6_500 })
      const response = await create()
      expect([response.statusCode, response.json().error.code, response.headers['retry-after']]).toEqual([
        429,
        code,
        '7',
      ])
    },
  )
})

describe('waiting for a job', () => {
  it('holds the answer until the job is finished', async () => {
    const id = await createId()
    const waiting = get(`/v1/jobs/${id}?wait=30`)
    await new Promise(setImmediate)
    api.jobs.finish(id, { result: { ok: true } })
    expect((await waiting).json()).toMatchObject({ status: 'completed', result: { ok: true } })
  })

  it('answers 200 with the job as it stands when the time is up', async () => {
    const id = await createId()
    const response = await get(`/v1/jobs/${id}?wait=0.05`)
    expect([response.statusCode, response.json().status]).toEqual([200, 'queued'])
    expect(response.headers['preference-applied']).toBeUndefined()
  })

  it('takes the time from Prefer also, and says so', async () => {
    const id = await createId()
    const waiting = get(`/v1/jobs/${id}`, { prefer: 'wait=900' })
    await new Promise(setImmediate)
    api.jobs.finish(id, {})
    expect((await waiting).headers['preference-applied']).toBe('wait=60')
  })

  it.each(['61', '-1', 'soon'])('refuses to wait %s seconds', async (wait) => {
    const response = await get(`/v1/jobs/${await createId()}?wait=${wait}`)
    expect([response.statusCode, response.json().error.param]).toEqual([400, 'query.wait'])
  })

  it('stops waiting in the store when the client goes away', async () => {
    const url = await api.listen()
    const id = await createId()
    const { promise: aborted, resolve } = Promise.withResolvers<void>()
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
    const { wait } = api.jobs
    api.jobs.wait = (tenant, job, ms, signal) => {
      signal?.addEventListener('abort', () => resolve())
      ask()
      return wait(tenant, job, ms, signal)
    }
    const client = new AbortController()
    const response = fetch(`${url}/v1/jobs/${id}?wait=60`, { signal: client.signal })
    await asked
    client.abort()
    await expect(response).rejects.toThrow()
    await aborted
  })
})

describe('listing jobs', () => {
  it('gives pages, newest first, in the envelope of lists', async () => {
    const ids = [await createId(), await createId(), await createId()].reverse()
    const first = (await get('/v1/jobs?limit=2')).json()
    expect(first).toMatchObject({ object: 'list', has_more: true, first_id: ids[0], last_id: ids[1] })
    expect(Object.keys(first)).toEqual(['object', 'data', 'has_more', 'first_id', 'last_id'])
    const second = (await get(`/v1/jobs?limit=2&after=${first.last_id}`)).json()
    expect(second).toMatchObject({ has_more: false, first_id: ids[2], last_id: ids[2] })
  })

  it('gives an empty list where there is nothing', async () => {
    expect((await get('/v1/jobs')).json()).toEqual({
      object: 'list',
      data: [],
      has_more: false,
      first_id: null,
      last_id: null,
    })
  })

  it('filters', async () => {
    const id = await createId(chatJob({ group: 'g' }))
    await createId({ type: 'response', body: { model: 'fast' } })
    const found = async (query: string) =>
      (await get(`/v1/jobs?${query}`)).json().data.map((job: { id: string }) => job.id)
    expect(await found('type=chat&group=g&status=queued&lane=openai/small')).toEqual([id])
    expect(await found('status=failed')).toEqual([])
    expect((await get('/v1/jobs?status=done')).statusCode).toBe(400)
  })
})

describe('steering a job', () => {
  it('cancels it, once', async () => {
    const id = await createId()
    expect((await post(`/v1/jobs/${id}/cancel`)).json().status).toBe('cancelled')
    const again = await post(`/v1/jobs/${id}/cancel`)
    expect([again.statusCode, again.json().error.code, again.headers['x-should-retry']]).toEqual([
      409,
      'not_cancellable',
      'false',
    ])
  })

  it('takes a POST with an empty JSON body', async () => {
    const id = await createId()
    const response = await api.app.inject({
      method: 'POST',
      url: `/v1/jobs/${id}/cancel`,
      headers: { 'content-type': 'application/json' },
    })
    expect(response.statusCode).toBe(200)
  })

  it('retries it when it failed, and not before', async () => {
    const id = await createId()
    expect((await post(`/v1/jobs/${id}/retry`)).json().error.code).toBe('not_retryable')
    api.jobs.finish(id, { error: { code: 'boom', message: 'm', provider_status: 500, retryable: true } })
    expect((await post(`/v1/jobs/${id}/retry`)).json()).toMatchObject({ id, status: 'queued' })
  })

  it('queues failed jobs again by group, lane and error code', async () => {
    for (const group of ['a', 'a', 'b']) {
      const id = await createId(chatJob({ group }))
      api.jobs.finish(id, { error: { code: 'boom', message: 'm', provider_status: null, retryable: true } })
    }
    expect((await post('/v1/jobs/retry', { error_code: 'other' })).json()).toEqual({ retried: 0 })
    expect((await post('/v1/jobs/retry', { group: 'a', limit: 1 })).json()).toEqual({ retried: 1 })
    expect((await post('/v1/jobs/retry')).json()).toEqual({ retried: 2 })
    expect((await post('/v1/jobs/retry', { grup: 'a' })).json().error.param).toBe('grup')
  })

  it('forgets it', async () => {
    const id = await createId()
    const response = await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` })
    expect([response.statusCode, response.json()]).toEqual([200, { id, object: 'job', deleted: true }])
    expect((await get(`/v1/jobs/${id}`)).statusCode).toBe(404)
  })
})

describe('what belongs to a job', () => {
  it('has its attempts as a list', async () => {
    const id = await createId()
    const attempt = {
      attempt: 1,
      provider: 'openai',
      model: 'small',
      started_at: '2026-11-23T12:00:00.000Z',
      latency_ms: null,
      outcome: 'running' as const,
      status: null,
      error_code: null,
      usage: null,
      cost_usd: null,
      waited_ms: 12,
      waited_for: 'requests' as const,
      ambiguous: false,
      coalesced: 1,
    }
    api.jobs.attempts = async () => [attempt]
    expect((await get(`/v1/jobs/${id}/attempts`)).json()).toEqual({
      object: 'list',
      data: [attempt],
      has_more: false,
      first_id: null,
      last_id: null,
    })
  })

  it('has its deliveries, which can be sent again', async () => {
    const id = await createId()
    const delivery = {
      id: 'msg_1',
      job_id: id,
      event: 'job.completed' as const,
      url: 'https://a.example/hook',
      status: 'failed' as const,
      created_at: '2026-11-23T12:00:00.000Z',
      next_attempt_at: null,
      attempts: [{ at: '2026-11-23T12:00:00.000Z', status: 500, error: null, latency_ms: 3 }],
    }
    api.jobs.addDelivery(delivery)
    expect((await get(`/v1/jobs/${id}/deliveries`)).json()).toMatchObject({
      data: [delivery],
      last_id: 'msg_1',
    })
    const again = await post('/v1/deliveries/msg_1/redeliver')
    expect([again.statusCode, again.json()]).toEqual([202, delivery])
  })

  it('is counted in its group', async () => {
    await createId(chatJob({ group: 'g' }))
    api.jobs.finish(await createId(chatJob({ group: 'g' })), {})
    expect((await get('/v1/groups/g')).json()).toEqual({
      group: 'g',
      total: 2,
      counts: { scheduled: 0, queued: 1, running: 0, completed: 1, failed: 0, cancelled: 0 },
      cost_usd: 0,
      estimated_finish_at: null,
    })
  })
})
