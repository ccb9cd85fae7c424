import { expect, it, onTestFinished } from 'vitest'
import { acmeKey, chatJob, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'

async function start(): Promise<TestApi> {
  const tenants = {
    ...testTenants,
    acme: { ...testTenants?.acme, keys: [acmeKey], limits: { max_queued: 2 } },
  }
  const api = await createTestApi({ tenants })
  onTestFinished(() => api.close())
  return api
}

async function submit({ app }: TestApi, key: string, members = {}, headers = {}, text = 'the same for both') {
  const response = await app.inject({
    method: 'POST',
    url: '/v1/jobs',
    headers: { authorization: `Bearer ${key}`, ...headers },
    payload: chatJob(members, text),
  })
  return { status: response.statusCode, headers: response.headers, job: response.json() }
}

it('does not share kept answers: an answer of one tenant is awaited and paid for by another', async () => {
  const api = await start()
  const first = await submit(api, acmeKey)
  await api.worker.finish(first.job.id)
  expect((await submit(api, acmeKey)).job.cache).toBe('hit')
  const foreign = await submit(api, otherKey)
  expect([foreign.status, foreign.job.cache, foreign.job.status]).toEqual([202, 'miss', 'queued'])
})

it('lets no tenant wait for the answer of another', async () => {
  const api = await start()
  const first = await submit(api, acmeKey)
  expect((await submit(api, acmeKey)).job.cache).toBe('shared')
  const foreign = await submit(api, otherKey)
  expect(foreign.job.cache).toBe('miss')
  await api.worker.start(first.job.id)
  expect((await submit(api, otherKey)).job.cache).toBe('shared')
})

it('keeps idempotency keys separate', async () => {
  const api = await start()
  const headers = { 'idempotency-key': 'same-key' }
  const own = await submit(api, acmeKey, {}, headers)
  const foreign = await submit(api, otherKey, {}, headers, 'another payload')
  expect([foreign.status, foreign.headers['idempotent-replayed']]).toEqual([202, undefined])
  expect(foreign.job.id).not.toBe(own.job.id)
})

it('keeps groups of one name, and room in the queue, separate', async () => {
  const api = await start()
  for (const text of ['a', 'b']) await submit(api, acmeKey, { group: 'same' }, {}, text)
  expect((await submit(api, acmeKey, { group: 'same' }, {}, 'c')).job.error.code).toBe('queue_full')
  expect((await submit(api, otherKey, { group: 'same' }, {}, 'a')).status).toBe(202)
  for (const [key, total] of [
    [acmeKey, 2],
    [otherKey, 1],
  ] as const) {
    const answer = await api.app.inject({
      url: '/v1/groups/same',
      headers: { authorization: `Bearer ${key}` },
    })
    expect(answer.json().total).toBe(total)
  }
})
