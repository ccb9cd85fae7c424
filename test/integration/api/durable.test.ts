import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { runDigest } from '../../../durable/keys.ts'
import type { Job } from '../../../jobs/job.ts'
import { acmeKey, chatJob, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'
import { keysOf } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'

type Step = {
  kind: string
  status: string
  job: Job | null
  wake_at: string | null
  left_ms: number | null
  value: unknown
  sent_at: string | null
}
type Answer = {
  status: number
  body: Step & { error?: { code: string; param: string | null; message: string } }
}

let api: TestApi
beforeAll(async () => {
  api = await createTestApi({ tenants: testTenants })
})
afterAll(() => api.close())

let runs = 0
const newRun = () => `report/${++runs} of today`

async function call(
  method: 'GET' | 'PUT' | 'POST' | 'DELETE',
  path: string,
  payload?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await api.app.inject({
    method,
    url: path,
    headers: {
      authorization: `Bearer ${acmeKey}`,
      ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(payload === undefined ? {} : { payload: JSON.stringify(payload) }),
  })
  return { status: response.statusCode, body: response.json() }
}

const runPath = (run: string) => `/v1/durable/${encodeURIComponent(run)}`
const stepPath = (run: string, name: string) => `${runPath(run)}/steps/${encodeURIComponent(name)}`
const put = (run: string, name: string, step: object, query = '', headers = {}) =>
  call('PUT', stepPath(run, name) + query, step, headers)
const signal = (run: string, name: string, value: unknown, headers = {}) =>
  call('POST', `${runPath(run)}/signals/${encodeURIComponent(name)}`, value, headers)

describe('a step that is a job', () => {
  it('is begun once, by however many at once, and answered with its result from then on', async () => {
    const run = newRun()
    const step = { job: chatJob({ group: 'durable' }, run) }
    const answers = await Promise.all(Array.from({ length: 8 }, () => put(run, 'out/line', step)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    const [id, ...others] = new Set(answers.map(({ body }) => body.job?.id))
    expect(others).toEqual([])
    expect(answers[0]!.body).toMatchObject({
      object: 'durable.step',
      durable: run,
      name: 'out/line',
      kind: 'job',
      status: 'waiting',
      job: { status: 'queued', group: 'durable', durable: { id: run, step: 'out/line' } },
    })

    const held = put(run, 'out/line', step, '?wait=20')
    await api.worker.finish(id!, { result: { answer: 42 } })
    expect(await held).toMatchObject({
      status: 200,
      body: { status: 'completed', job: { id, result: { answer: 42 } } },
    })
    expect(await call('GET', `${stepPath(run, 'out/line')}?wait=20`)).toMatchObject({
      status: 200,
      body: { status: 'completed', job: { id, result: { answer: 42 } } },
    })
    const { body } = await call('GET', runPath(run))
    expect(body).toMatchObject({ id: run, steps: [{ name: 'out/line', status: 'completed', job_id: id }] })
  })

  it('is the same for equal JSON in any order of members, and an error for other JSON', async () => {
    const run = newRun()
    const { type, body, ...rest } = chatJob({ metadata: { a: 'b' } }, run)
    const { status } = await put(run, 'step', { job: { type, body, ...rest } })
    expect(status).toBe(201)
    expect((await put(run, 'step', { job: { ...rest, body, type } })).status).toBe(200)
    const others = [
      { job: chatJob({ metadata: { a: 'b' } }, 'something else') },
      { job: chatJob({ metadata: { a: 'b' }, priority: 'low' }, run) },
      { sleep_ms: 1 },
      { signal: {} },
    ]
    for (const other of others) {
      expect(await put(run, 'step', other), JSON.stringify(other)).toMatchObject({
        status: 409,
        body: { error: { code: 'step_changed', param: 'path.name' } },
      })
    }
    expect((await call('GET', runPath(run))).body).toMatchObject({ steps: [{ name: 'step' }] })
  })

  it('is one of several that are asked for at once under its name: the others are refused, then and later', async () => {
    const run = newRun()
    const asks = Array.from({ length: 8 }, (_, index) => ({ job: chatJob({}, `${run} ${index}`) }))
    const answers = await Promise.all(asks.map((ask) => put(run, 'step', ask)))
    const later = []
    for (const ask of asks) later.push(await put(run, 'step', ask))
    const begun = answers.findIndex(({ status }) => status === 201)
    for (const [index, { status }] of answers.entries()) expect(status).toBe(index === begun ? 201 : 409)
    for (const [index, { status }] of later.entries()) expect(status).toBe(index === begun ? 200 : 409)
    expect(later[begun]!.body.job!.id).toBe(answers[begun]!.body.job!.id)
  })

  it('stays with its create object while one of several requests for it may still create its job', async () => {
    const { durable } = api.deps.store
    const run = newRun()
    const begin = async (fingerprint: string) => {
      const request = { kind: 'job', fingerprints: [fingerprint], jobId: `job_${fingerprint}` } as const
      const begun = await durable.begin('acme', run, 'step', request)
      return [begun.kind, 'step' in begun ? begun.step.jobId : null]
    }
    expect([await begin('first'), await begin('first')]).toEqual([
      ['begun', 'job_first'],
      ['known', 'job_first'],
    ])
    await durable.release('acme', run, 'step')
    expect(await begin('other')).toEqual(['changed', null])
    await durable.release('acme', run, 'step')
    expect(await begin('other')).toEqual(['begun', 'job_first'])
  })

  it('is shown as failed, and waited for again once its job is queued again', async () => {
    const run = newRun()
    const step = { job: chatJob({ cache: 'off' }, run) }
    const { id } = (await put(run, 'step', step)).body.job!
    await api.worker.finishFailed(id)
    expect((await put(run, 'step', step)).body).toMatchObject({
      status: 'failed',
      job: { id, error: { code: 'boom' } },
    })
    await call('POST', `/v1/jobs/${id}/retry`)
    expect((await put(run, 'step', step)).body).toMatchObject({ status: 'waiting', job: { id } })
    await api.worker.finish(id)
    expect((await put(run, 'step', step)).body).toMatchObject({ status: 'completed', job: { id } })
    await call('POST', `/v1/jobs/${(await put(run, 'other', step)).body.job!.id}/cancel`)
    expect((await put(run, 'other', step)).body).toMatchObject({ status: 'cancelled' })
  })

  it('that is refused is not a step, and names the member at fault', async () => {
    const run = newRun()
    const unknown = { ...chatJob(), body: { ...chatJob().body, model: 'openai/none' } }
    expect(await put(run, 'step', { job: unknown })).toMatchObject({
      status: 404,
      body: { error: { code: 'model_not_found', param: 'job.body.model' } },
    })
    expect(await put(run, 'step', { job: { ...chatJob(), body: { model: 'openai/small' } } })).toMatchObject({
      status: 400,
      body: { error: { param: 'job.body.messages' } },
    })
    for (const [body, param] of [
      [{}, 'body'],
      [{ sleep_ms: 1, signal: {} }, 'body'],
      [{ sleep_ms: -1 }, 'sleep_ms'],
      [{ signal: { until: 1 } }, 'signal.until'],
    ] as const) {
      expect(await put(run, 'step', body)).toMatchObject({ status: 400, body: { error: { param } } })
    }
    for (const name of ['.', '..', 'a\nb', 'ä', 'x'.repeat(129)]) {
      const url = name.startsWith('.') ? `/v1/durable/r/steps/${name}` : stepPath('r', name)
      expect([400, 404, 414], name).toContain((await put('r', name, { sleep_ms: 1 })).status)
      expect(url).toContain('/steps/')
    }
    expect((await call('GET', runPath(run))).status).toBe(404)
  })

  it('for which there is no room is created when it is requested again, from the later request', async () => {
    const full = await createTestApi({ tenants: { acme: { keys: [acmeKey], limits: { max_queued: 1 } } } })
    try {
      const ask = (text: string) =>
        full.app.inject({
          method: 'PUT',
          url: '/v1/durable/r/steps/step',
          headers: { authorization: `Bearer ${acmeKey}` },
          payload: { job: chatJob({}, text) },
        })
      const headers = { authorization: `Bearer ${acmeKey}` }
      const first = await full.app.inject({ method: 'POST', url: '/v1/jobs', headers, payload: chatJob() })
      expect((await ask('one')).json()).toMatchObject({ error: { code: 'queue_full' } })
      await full.worker.finish(first.json().id)
      expect((await ask('two')).statusCode).toBe(201)
      expect((await ask('one')).json()).toMatchObject({ error: { code: 'step_changed' } })
    } finally {
      await full.close()
    }
  })

  it('that is over is answered though its model has left the configuration', async () => {
    const run = newRun()
    const step = { job: chatJob({}, run) }
    const { id } = (await put(run, 'step', step)).body.job!
    await api.worker.finish(id)
    const { config } = api
    const { small: _, ...models } = config.providers.openai!.models
    const openai = { ...config.providers.openai!, models }
    api.reconfigure({ ...config, providers: { ...config.providers, openai } })
    try {
      expect((await put(run, 'step', step)).body).toMatchObject({ status: 'completed', job: { id } })
      expect((await put(run, 'next', step)).status).toBe(404)
    } finally {
      api.reconfigure(config)
    }
  })

  it('begins again when its job is deleted', async () => {
    const run = newRun()
    const step = { job: chatJob({ cache: 'off' }, run) }
    const { id } = (await put(run, 'step', step)).body.job!
    await call('DELETE', `/v1/jobs/${id}`)
    expect((await call('GET', stepPath(run, 'step'))).status).toBe(404)
    const again = await put(run, 'step', step)
    expect(again.status).toBe(201)
    expect(again.body.job!.id).not.toBe(id)
  })
})

describe('a step that sleeps', () => {
  it('is over when its time has passed since it began, for every caller', async () => {
    const run = newRun()
    const begun = await put(run, 'nap', { sleep_ms: 400 })
    expect(begun).toMatchObject({ status: 201, body: { kind: 'sleep', status: 'waiting', job: null } })
    expect(begun.body.left_ms).toBe(400)
    const again = await put(run, 'nap', { sleep_ms: 400 })
    expect(again).toMatchObject({ status: 200, body: { status: 'waiting', wake_at: begun.body.wake_at } })
    const startedAt = performance.now()
    const { body } = await put(run, 'nap', { sleep_ms: 400 }, '?wait=20')
    expect(performance.now() - startedAt).toBeLessThan(15_000)
    expect(body).toMatchObject({ status: 'completed', left_ms: 0, wake_at: begun.body.wake_at })
    expect((await put(run, 'nap', { sleep_ms: 500 })).body.error).toMatchObject({ code: 'step_changed' })
    expect((await put(run, 'none', { sleep_ms: 0 })).body).toMatchObject({ status: 'completed' })
  })
})

describe('a step that waits for a signal', () => {
  it('gets any JSON as it was sent, before it waits or while it does', async () => {
    const run = newRun()
    await put(run, 'begin', { sleep_ms: 0 })
    let count = 0
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.boolean(), async (value, isEarly) => {
        const name = `signal ${++count}`
        const send = async () => expect((await signal(run, name, value)).status).toBe(200)
        if (isEarly) await send()
        const held = put(run, name, { signal: {} }, '?wait=20')
        if (!isEarly) {
          await until(async () => (await call('GET', stepPath(run, name))).status === 200)
          await send()
        }
        const { body } = await held
        expect(body).toMatchObject({ kind: 'signal', status: 'completed' })
        expect(body.value).toEqual(JSON.parse(JSON.stringify(value)))
        expect((await put(run, name, { signal: {} })).body.value).toEqual(body.value)
      }),
      { numRuns: 20 },
    )
  })

  it('gets the numbers of an object that a double cannot hold', async () => {
    const run = newRun()
    const sent = '{"amount": 12345678901234567890, "more": [1e400], "10": 1.0, "1": 2}'
    await put(run, 'begin', { sleep_ms: 0 })
    const headers = { authorization: `Bearer ${acmeKey}`, 'content-type': 'application/json' }
    const url = `${runPath(run)}/signals/approval`
    expect((await api.app.inject({ method: 'POST', url, headers, payload: sent })).statusCode).toBe(200)
    const payload = JSON.stringify({ signal: {} })
    const begun = await api.app.inject({ method: 'PUT', url: stepPath(run, 'approval'), headers, payload })
    expect(begun.body).toContain(`"value":${sent}`)
    const read = await api.app.inject({ method: 'GET', url: stepPath(run, 'approval'), headers })
    expect(read.body).toContain(`"value":${sent}`)
  })

  it('gets one value: another is refused, the same request again is not', async () => {
    const run = newRun()
    await put(run, 'approve', { signal: {} })
    const key = { 'idempotency-key': 'one' }
    const first = await signal(run, 'approve', { ok: true }, key)
    expect(first.status).toBe(200)
    expect(await signal(run, 'approve', { ok: true }, key)).toEqual(first)
    for (const headers of [{}, { 'idempotency-key': 'two' }]) {
      expect(await signal(run, 'approve', { ok: true }, headers)).toMatchObject({
        status: 409,
        body: { error: { code: 'already_signalled' } },
      })
    }
    expect((await put(run, 'approve', { signal: {} })).body.value).toEqual({ ok: true })
  })

  it('may be given up after a time, and then takes no value any more', async () => {
    const run = newRun()
    const step = { signal: { timeout_ms: 50 } }
    const { body } = await put(run, 'approve', step, '?wait=20')
    expect(body).toMatchObject({ status: 'timed_out', value: null, left_ms: 0 })
    expect((await signal(run, 'approve', true)).body.error).toMatchObject({ code: 'signal_timeout' })
    expect((await put(run, 'approve', step)).body).toMatchObject({ status: 'timed_out' })
  })

  it('is the only kind that takes a value, and only of a run that exists', async () => {
    const run = newRun()
    expect((await signal(run, 'approve', true)).status).toBe(404)
    await put(run, 'nap', { sleep_ms: 0 })
    expect(await signal(run, 'nap', true)).toMatchObject({
      status: 400,
      body: { error: { param: 'path.name' } },
    })
    const long = await signal(run, 'long', 'x'.repeat(1024 * 1024))
    expect(long).toMatchObject({ status: 413, body: { error: { code: 'payload_too_large' } } })
    const none = await api.app.inject({
      method: 'POST',
      url: `${runPath(run)}/signals/none`,
      headers: { authorization: `Bearer ${acmeKey}` },
    })
    expect(none.statusCode).toBe(400)
  })
})

describe('a run', () => {
  it('belongs to its tenant: the same id is another run for another tenant', async () => {
    const run = newRun()
    const other = { authorization: `Bearer ${otherKey}` }
    const step = { job: chatJob({}, run) }
    const mine = await put(run, 'step', step)
    expect((await call('GET', stepPath(run, 'step'), undefined, other)).status).toBe(404)
    expect((await signal(run, 'approve', true, other)).status).toBe(404)
    expect((await call('DELETE', runPath(run), undefined, other)).status).toBe(404)
    const theirs = await put(run, 'step', { job: chatJob({}, 'theirs') }, '', other)
    expect(theirs.status).toBe(201)
    expect(theirs.body.job!.id).not.toBe(mine.body.job!.id)
  })

  it('is deleted with all its data, and begins again', async () => {
    const run = newRun()
    const keys = () => keysOf(api.redis, `${api.root('acme')}:durable:${runDigest(run)}*`)
    const { id } = (await put(run, 'step', { job: chatJob({ cache: 'off' }, run) })).body.job!
    await put(run, 'approve', { signal: {} })
    await signal(run, 'approve', 'yes')
    // Without the key that ends 10 s after a step was begun.
    expect((await keys()).filter((key) => !key.endsWith(':making'))).toHaveLength(2)
    expect(await call('DELETE', runPath(run))).toMatchObject({
      status: 200,
      body: { id: run, deleted: true },
    })
    expect(await keys()).toEqual([])
    expect((await call('GET', `/v1/jobs/${id}`)).status).toBe(404)
    expect((await call('DELETE', runPath(run))).status).toBe(404)
    expect((await put(run, 'approve', { signal: {} })).body).toMatchObject({ status: 'waiting', value: null })
  })

  it('is in the list of its tenant, newest first, until it is deleted; a page begins behind one that is gone', async () => {
    type List = {
      data: { id: string; step_count: number; signal_count: number; created_at: string; expires_at: string }[]
      has_more: boolean
      last_id: string | null
    }
    const lister = await createTestApi({ tenants: testTenants })
    onTestFinished(() => lister.close())
    const send = async (
      method: 'GET' | 'PUT' | 'POST' | 'DELETE',
      url: string,
      payload?: object,
      key = acmeKey,
    ) => {
      const headers = {
        authorization: `Bearer ${key}`,
        ...(payload && { 'content-type': 'application/json' }),
      }
      return lister.app.inject({ method, url, headers, ...(payload && { payload: JSON.stringify(payload) }) })
    }
    const list = async (query = '', key = acmeKey) =>
      (await send('GET', `/v1/durable${query}`, undefined, key)).json() as List
    expect(await list()).toEqual({ object: 'list', data: [], has_more: false, first_id: null, last_id: null })
    const ids = ['one', 'two/2', 'three', 'four', 'five']
    for (const id of ids) {
      await send('PUT', `${runPath(id)}/steps/nap`, { sleep_ms: 0 })
      await send('PUT', `${runPath(id)}/steps/approve`, { signal: {} })
    }
    await send('POST', `${runPath('one')}/signals/approve`, { ok: true })
    await send('PUT', `${runPath('theirs')}/steps/nap`, { sleep_ms: 0 }, otherKey)

    // As a process of the release before leaves its runs: their next request brings them back.
    await lister.redis.del(`${lister.root('acme')}:durables:created`)
    for (const id of ids) await send('PUT', `${runPath(id)}/steps/nap`, { sleep_ms: 0 })
    const all = await list()
    // Runs of one millisecond have no order.
    expect(all.data.map(({ created_at }) => created_at)).toEqual(
      all.data
        .map(({ created_at }) => created_at)
        .sort()
        .reverse(),
    )
    expect(all.data.map(({ id }) => id).sort()).toEqual(ids.toSorted())
    expect(all.data.find(({ id }) => id === 'one')).toMatchObject({ step_count: 2, signal_count: 1 })
    expect(all.data.every(({ created_at, expires_at }) => expires_at > created_at)).toBe(true)
    expect((await list('', otherKey)).data).toMatchObject([{ id: 'theirs', step_count: 1 }])

    const first = await list('?limit=2')
    expect(first).toMatchObject({ data: all.data.slice(0, 2), has_more: true })
    expect((await send('DELETE', runPath(first.data[1]!.id))).statusCode).toBe(200)
    expect(await lister.redis.zcard(`${lister.root('acme')}:durables:created`)).toBe(ids.length - 1)
    const rest = await list(`?limit=3&after=${first.last_id}`)
    expect(rest).toMatchObject({ data: all.data.slice(2), has_more: false })
    expect((await list(`?after=${rest.last_id}`)).data).toEqual([])
    expect((await send('GET', '/v1/durable?after=report-1')).json()).toMatchObject({
      error: { code: 'invalid_request', param: 'query.after' },
    })
  })
})
