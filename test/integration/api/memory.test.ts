import { randomUUID } from 'node:crypto'
import { expect, it, onTestFinished } from 'vitest'
import type { ErrorMembers } from '../../../api/errors.ts'
import { createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

const chat = (text: string) => ({
  type: 'chat',
  body: { model: 'openai/small', messages: [{ role: 'user', content: text }] },
})

/** An API whose Redis has used this share of its memory. */
async function openShort() {
  const api = await createTestApi({ own: true })
  onTestFinished(() => api.close())
  // Compared with it, a test writes nothing.
  await api.redis.setrange('ballast', 64 * 1024 * 1024, 'x')
  const used = Number(/used_memory:(\d+)/.exec(await api.redis.info('memory'))![1])
  const fill = (share: number) => api.redis.config('SET', 'maxmemory', String(Math.round(used / share)))
  return { api, fill }
}

function create(api: TestApi, text: string, headers: Record<string, string> = {}) {
  return api.app.inject({ method: 'POST', url: '/v1/jobs', payload: chat(text), headers })
}

function upload(api: TestApi) {
  const boundary = randomUUID()
  const part = (name: string, value: string) =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const file = `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n--${boundary}--\r\n`
  return api.app.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    payload: part('purpose', 'batch') + file,
  })
}

function bulk(api: TestApi) {
  return api.app.inject({ method: 'POST', url: '/v1/jobs/bulk', payload: [chat('one'), chat('two')] })
}

const batch = (api: TestApi, file: string) =>
  api.app.inject({
    method: 'POST',
    url: '/v1/batches',
    payload: { input_file_id: file, endpoint: '/v1/chat/completions', completion_window: '24h' },
  })

it('new work is refused while the memory of Redis is short, accepted work is completed, and then new work is accepted again', async () => {
  const { api, fill } = await openShort()
  const accepted = await create(api, 'accepted', { 'idempotency-key': 'known' })
  expect(accepted.statusCode).toBe(202)
  const file = (await upload(api)).json<{ id: string }>().id
  expect(file).toMatch(/^file-/)

  await fill(0.8)
  await until(async () => (await create(api, randomUUID())).statusCode === 503)
  for (const refused of [
    await create(api, 'new'),
    await bulk(api),
    await upload(api),
    await batch(api, file),
    await api.app.inject({ method: 'PUT', url: '/v1/groups/night/budget', payload: { usd: 1 } }),
    await api.app.inject({ method: 'POST', url: '/v1/conversations', payload: {} }),
  ]) {
    expect(refused.statusCode).toBe(503)
    expect(refused.headers['retry-after']).toBe('5')
    expect(refused.json<{ error: ErrorMembers }>().error.code).toBe('unavailable')
  }
  // A job that was accepted under a key is not new work.
  const again = await create(api, 'accepted', { 'idempotency-key': 'known' })
  expect(again.statusCode).toBe(200)
  expect(again.headers['idempotent-replayed']).toBe('true')
  const { id } = accepted.json<{ id: string }>()
  await api.worker.finish(id)
  expect((await api.app.inject({ url: `/v1/jobs/${id}` })).json()).toMatchObject({ status: 'completed' })

  await fill(0.4)
  await until(async () => (await create(api, randomUUID())).statusCode === 202)
  expect((await bulk(api)).statusCode).toBe(200)
  expect((await upload(api)).statusCode).toBe(200)
  expect((await batch(api, file)).statusCode).toBe(200)
}, 60_000)

it('a Redis without maxmemory is never short', async () => {
  const { api } = await openShort()
  for (let index = 0; index < 3; index++) expect((await create(api, `number ${index}`)).statusCode).toBe(202)
})
