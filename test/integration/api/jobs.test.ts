import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { jobChannel } from '../../../jobs/keys.ts'
import { chatJob, createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

let api: TestApi
beforeEach(async () => {
  api = await createTestApi()
})
afterEach(() => api.close())

let texts = 0
/** A job unlike any other, so that none waits for another's answer. */
const uniqueJob = (members: Record<string, unknown> = {}) => chatJob(members, `text ${++texts}`)
const create = (payload: object = uniqueJob(), headers: Record<string, string> = {}) =>
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
    const { estimated_start_at, ...read } = (await get(response.headers.location as string)).json()
    expect(job).toMatchObject(read)
    expect(estimated_start_at).toEqual(expect.any(String))
  })

  it('answers 200 where the job has ended already', async () => {
    await api.worker.finish((await create(chatJob())).json().id, { result: { a: [1] } })
    const response = await create(chatJob())
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

  it('is the same job under the same idempotency key also once its time has come', async () => {
    const job = chatJob({ run_at: new Date(Date.now() + 1_000).toISOString() })
    const first = await create(job, { 'idempotency-key': 'k-later' })
    expect(first.json().status).toBe('scheduled')
    await until(() => Date.now() > Date.parse(first.json().run_at))
    const again = await create(job, { 'idempotency-key': 'k-later' })
    expect([again.statusCode, again.json().id]).toEqual([200, first.json().id])
  })

  it('says that a replayed job failed, and queues it again where the policy asks for it', async () => {
    const send = (policy?: string) =>
      create(chatJob(), {
        'idempotency-key': 'k-2',
        ...(policy === undefined ? {} : { 'idempotency-key-policy': policy }),
      })
    const { id } = (await send()).json()
    await api.worker.fail(await api.worker.next())
    const replayed = await send('replay')
    expect([replayed.statusCode, replayed.json().status]).toEqual([200, 'failed'])
    expect(replayed.headers).toMatchObject({ 'idempotent-replayed': 'true', 'x-should-retry': 'false' })
    const retried = await send('retry-failed')
    expect([retried.statusCode, retried.json()]).toEqual([
      202,
      expect.objectContaining({ id, status: 'queued' }),
    ])
    expect(retried.headers['x-should-retry']).toBeUndefined()
    expect((await send('retry-failed')).statusCode).toBe(200)
    const wrong = await send('again')
    expect([wrong.statusCode, wrong.json().error.param]).toEqual([400, 'Idempotency-Key-Policy'])
  })
})

describe('waiting for a job', () => {
  /** Whether a process listens for the job. */
  const isAwaited = async (id: string) =>
    Number((await api.redis.pubsub('NUMSUB', jobChannel(api.root(), id)))[1]) > 0

  it('holds the answer until the job has ended', async () => {
    const id = await createId()
    const waiting = get(`/v1/jobs/${id}?wait=30`)
    await until(() => isAwaited(id))
    await api.worker.finish(id, { result: { ok: true } })
    expect((await waiting).json()).toMatchObject({ status: 'completed', result: { ok: true } })
  })

  it('answers 200 with the job as it is when the time is up', async () => {
    const id = await createId()
    const response = await get(`/v1/jobs/${id}?wait=0.05`)
    expect([response.statusCode, response.json().status]).toEqual([200, 'queued'])
    expect(response.headers['preference-applied']).toBeUndefined()
  })

  it('takes the time from Prefer as well, and says so', async () => {
    const id = await createId()
    const waiting = get(`/v1/jobs/${id}`, { prefer: 'wait=900' })
    await until(() => isAwaited(id))
    await api.worker.finish(id)
    expect((await waiting).headers['preference-applied']).toBe('wait=60')
  })

  it.each(['61', '-1', 'soon'])('refuses to wait %s seconds', async (wait) => {
    const response = await get(`/v1/jobs/${await createId()}?wait=${wait}`)
    expect([response.statusCode, response.json().error.param]).toEqual([400, 'query.wait'])
  })

  it('stops waiting in the store when the client goes away', async () => {
    const url = await api.listen()
    const id = await createId()
    const client = new AbortController()
    const response = fetch(`${url}/v1/jobs/${id}?wait=60`, { signal: client.signal })
    await until(() => isAwaited(id))
    client.abort()
    await expect(response).rejects.toThrow()
    await until(async () => !(await isAwaited(id)))
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
    const id = await createId(uniqueJob({ group: 'g' }))
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
    await api.worker.finishFailed(id)
    expect((await post(`/v1/jobs/${id}/retry`)).json()).toMatchObject({ id, status: 'queued' })
  })

  it('queues failed jobs again by group, lane and error code', async () => {
    for (const group of ['a', 'a', 'b']) {
      await api.worker.finishFailed(await createId(uniqueJob({ group })), { code: 'boom' })
    }
    expect((await post('/v1/jobs/retry', { error_code: 'other' })).json()).toMatchObject({ retried: 0 })
    expect((await post('/v1/jobs/retry', { group: 'a', limit: 1 })).json()).toMatchObject({ retried: 1 })
    expect((await post('/v1/jobs/retry')).json()).toMatchObject({ retried: 2 })
    expect((await post('/v1/jobs/retry', { grup: 'a' })).json().error.param).toBe('grup')
  })

  it('deletes it', async () => {
    const id = await createId()
    const response = await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` })
    expect([response.statusCode, response.json()]).toEqual([200, { id, object: 'job', deleted: true }])
    expect((await get(`/v1/jobs/${id}`)).statusCode).toBe(404)
  })
})

describe('what belongs to a job', () => {
  it('has its attempts as a list', async () => {
    const id = await createId()
    const running = await api.worker.start(id)
    const attempts = async () => (await get(`/v1/jobs/${id}/attempts`)).json()
    const begun = {
      attempt: 1,
      provider: 'openai',
      model: 'small',
      started_at: expect.stringMatching(/^\d{4}-.*Z$/),
      latency_ms: null,
      outcome: 'running',
      status: null,
      error_code: null,
      tier: 'standard',
      source: null,
      served_tier: null,
      usage: null,
      usage_is_estimate: false,
      cost_usd: null,
      cost_is_estimate: false,
      waited_ms: expect.any(Number),
      waited_for: null,
      ambiguous: false,
      coalesced: 1,
    }
    expect(await attempts()).toEqual({
      object: 'list',
      data: [begun],
      has_more: false,
      first_id: null,
      last_id: null,
    })
    await api.worker.complete(running, { costUsd: 0.25 })
    const usage = { input_tokens: 7, output_tokens: 5, total_tokens: 12 }
    const ended = {
      ...begun,
      served_tier: 'standard',
      outcome: 'completed',
      latency_ms: 12,
      status: 200,
      usage,
      cost_usd: 0.25,
    }
    expect((await attempts()).data).toEqual([ended])
  })

  it('has its deliveries, which can be sent again', async () => {
    const webhook = { url: 'https://a.example/hook', events: ['job.completed'] }
    const id = await createId(uniqueJob({ webhook }))
    expect((await get(`/v1/jobs/${id}/deliveries`)).json().data).toEqual([])
    await api.worker.finish(id)
    const list = (await get(`/v1/jobs/${id}/deliveries`)).json()
    const [delivery] = list.data
    expect(list).toMatchObject({
      data: [{ job_id: id, event: 'job.completed', url: webhook.url, status: 'pending', attempts: [] }],
      last_id: delivery.id,
    })
    const again = await post(`/v1/deliveries/${delivery.id}/redeliver`)
    expect([again.statusCode, again.json()]).toMatchObject([202, { id: delivery.id, status: 'pending' }])
  })

  it('has its place among the deliveries that fail, page after page', async () => {
    const webhook = { url: 'https://a.example/hook', events: ['job.completed'] }
    const key = `${api.root()}:webhooks:failing`
    const wanted: string[] = []
    for (let at = 1; at <= 3; at++) {
      const id = await createId(uniqueJob({ webhook }))
      await api.worker.finish(id)
      const [delivery] = (await get(`/v1/jobs/${id}/deliveries`)).json().data
      await api.redis.zadd(key, at, delivery.id)
      wanted.unshift(delivery.id)
    }
    const found: string[] = []
    let query = 'limit=1'
    for (;;) {
      const { data, has_more, last_id } = (await get(`/v1/deliveries?${query}`)).json()
      found.push(...data.map(({ id }: { id: string }) => id))
      if (!has_more) break
      query = `limit=1&after=${last_id}`
    }
    expect(found).toEqual(wanted)
    const refused = await get('/v1/deliveries?after=whd_1')
    expect([refused.statusCode, refused.json().error.param]).toEqual([400, 'query.after'])
  })

  it('is counted in its group', async () => {
    await createId(uniqueJob({ group: 'g' }))
    await api.worker.finish(await createId(uniqueJob({ group: 'g' })), { costUsd: 0.5 })
    expect((await get('/v1/groups/g')).json()).toEqual({
      budgets: [],
      group: 'g',
      total: 2,
      counts: { scheduled: 0, queued: 1, running: 0, completed: 1, failed: 0, cancelled: 0 },
      cost_usd: 0.5,
      unpriced_calls: 0,
      estimated_finish_at: expect.any(String),
    })
  })
})
