import { pino } from 'pino'
import { Agent, fetch, type RequestInit } from 'undici'
import { expect, it, onTestFinished } from 'vitest'
import type { Config } from '../../../config/schema.ts'
import { createKeyring } from '../../../config/tenants.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import { openApi } from '../../../services.ts'
import { acmeKey, chatJob, opsKey, otherKey, parseTestConfig, testTenants } from '../../helpers/api.ts'
import { testRedis, toConfig } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'
import { openSocket } from '../../helpers/test-socket.ts'

const MOST = 3

async function start() {
  const place = testRedis()
  const config = createLiveConfig(
    parseTestConfig({
      server: { host: '127.0.0.1', port: 0, max_streams_per_tenant: MOST },
      redis: toConfig(place),
      tenants: testTenants,
    }),
  )
  const log = pino({ level: 'silent' })
  const service = await openApi({ config, log, version: '0.0.0-test' })
  onTestFinished(service.close)
  // A client's idle connections would delay the closing.
  const dispatcher = new Agent()
  onTestFinished(() => dispatcher.destroy())
  const call = (key: string, path: string, init: RequestInit = {}, tenant?: string) =>
    fetch(service.url + path, {
      ...init,
      dispatcher,
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        ...(tenant === undefined ? {} : { 'x-tenant': tenant }),
      },
    })
  const createId = async (key: string) => {
    const response = await call(key, '/v1/jobs', { method: 'POST', body: JSON.stringify(chatJob()) })
    return ((await response.json()) as { id: string }).id
  }
  const connect = async (key: string) => {
    const opened = await openSocket(`${service.url}/v1/ws`, { headers: { authorization: `Bearer ${key}` } })
    onTestFinished(() => opened.socket.terminate())
    return opened
  }
  return { config, call, connect, createId }
}

it('gives a tenant its number of event streams and no more, and another tenant its own', async () => {
  const { call, createId } = await start()
  const id = await createId(acmeKey)
  const leaving = new AbortController()
  const path = `/v1/jobs/${id}/events`
  const open = () => call(acmeKey, path, { signal: leaving.signal })
  const streams = await Promise.all(Array.from({ length: MOST }, open))
  expect(streams.map(({ status }) => status)).toEqual(Array(MOST).fill(200))

  const refused = await call(acmeKey, path)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5'])
  expect(await refused.json()).toMatchObject({ error: { code: 'rate_limited', type: 'rate_limit_error' } })
  // Every other request is answered.
  expect((await call(acmeKey, `/v1/jobs/${id}`)).status).toBe(200)

  const theirs = await call(otherKey, `/v1/jobs/${await createId(otherKey)}/events`)
  expect(theirs.status).toBe(200)
  await theirs.body?.cancel()

  leaving.abort()
  await until(async () => {
    const again = await call(acmeKey, path)
    if (again.status === 200) await again.body?.cancel()
    else await again.text()
    return again.status === 200
  })
})

it('counts the streams of chats and responses as well, and ends them when their key is revoked', async () => {
  const { config, call } = await start()
  const ask = (path: string, body: object) =>
    call(acmeKey, path, { method: 'POST', body: JSON.stringify({ model: 'openai/small', ...body }) })
  const messages = [{ role: 'user', content: 'hello' }]
  const answers = Array.from({ length: MOST }, (_, index) =>
    ask('/v1/chat/completions', { messages, stream: true, user: `user ${index}` }),
  )
  // None of them is answered before its first piece, so the refusal shows when all are counted.
  const background = await ask('/v1/responses', { input: 'hello', background: true })
  const { id } = (await background.json()) as { id: string }
  await until(async () => {
    const stream = await call(acmeKey, `/v1/responses/${id}?stream=true`)
    await stream.body?.cancel()
    return stream.status === 429
  })
  const refused = await ask('/v1/chat/completions', { messages, stream: true })
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5'])

  config.replace(replaceKeys(config.current(), 'acme', ['another-key-0123456789']))
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(MOST).fill(503))
})

it('stops counting a stream that was refused for another reason', async () => {
  const { call } = await start()
  for (let time = 0; time <= MOST; time++) {
    const answer = await call(acmeKey, '/v1/jobs/job_none/events')
    expect(answer.status).toBe(404)
    await answer.text()
  }
})

it('ends the streams of a key that is revoked within 5 s, and those of no other', async () => {
  const { config, call, createId } = await start()
  const revoked = await call(acmeKey, `/v1/jobs/${await createId(acmeKey)}/events`)
  const kept = await call(opsKey, `/v1/jobs/${await createId(opsKey)}/events`)
  let ended = false
  const keptEnd = kept.body!.pipeTo(new WritableStream()).then(
    () => (ended = true),
    () => {},
  )
  const startedAt = performance.now()
  config.replace(replaceKeys(config.current(), 'acme', ['another-key-0123456789']))
  expect(createKeyring(config.current()).find(acmeKey)).toBeNull()
  await revoked.text()
  expect(performance.now() - startedAt).toBeLessThan(5_000)
  expect((await call(acmeKey, '/v1/jobs')).status).toBe(401)
  expect(ended).toBe(false)
  config.replace(replaceKeys(config.current(), 'ops', ['one-more-key-0123456789']))
  await keptEnd
})

it('ends what was opened as an administrator when the key is not one any more', async () => {
  const { config, call, createId } = await start()
  const watched = await call(opsKey, '/v1/overview/events')
  const acting = await call(opsKey, `/v1/jobs/${await createId(acmeKey)}/events`, {}, 'acme')
  const own = await call(opsKey, `/v1/jobs/${await createId(opsKey)}/events`)
  expect([watched.status, acting.status, own.status]).toEqual([200, 200, 200])
  const current = config.current()
  const ops = { ...current.tenants.ops!, admin: false }
  config.replace({ ...current, tenants: { ...current.tenants, ops } })
  await Promise.all([watched.text(), acting.text()])
  expect((await call(opsKey, '/v1/overview')).status).toBe(403)
  // Its own goes on: it ends with its client.
  await own.body?.cancel()
})

it('counts the streams of an administrator who acts as a tenant for the administrator', async () => {
  const { call, createId } = await start()
  const path = `/v1/jobs/${await createId(acmeKey)}/events`
  const streams = await Promise.all(Array.from({ length: MOST }, () => call(opsKey, path, {}, 'acme')))
  expect(streams.map(({ status }) => status)).toEqual(Array(MOST).fill(200))
  expect((await call(opsKey, path, {}, 'acme')).status).toBe(429)
  expect((await call(acmeKey, path)).status).toBe(200)
})

function replaceKeys(config: Config, tenant: string, keys: string[]): Config {
  return { ...config, tenants: { ...config.tenants, [tenant]: { ...config.tenants[tenant]!, keys } } }
}

it('counts sockets and what they follow among the streams, and closes those of a revoked key with 4401', async () => {
  const { config, call, connect, createId } = await start()
  const id = await createId(acmeKey)
  const socket = await connect(acmeKey)
  for (const name of ['a', 'b', 'c']) socket.send({ type: 'subscribe', id: name, all: true })
  const refused = await socket.find(({ type }) => type === 'error')
  expect(refused).toMatchObject({ id: 'c', error: { code: 'rate_limited' } })
  expect((await call(acmeKey, `/v1/jobs/${id}/events`)).status).toBe(429)
  const turnedAway = await connect(acmeKey)
  expect(await turnedAway.next()).toMatchObject({ type: 'error', id: null, error: { code: 'rate_limited' } })
  expect((await turnedAway.closed).code).toBe(1013)
  // A place becomes free at the end of a subscription, and at that of the socket.
  socket.send({ type: 'unsubscribe', id: 'a' })
  await socket.find(({ type }) => type === 'end')
  const other = await connect(acmeKey)
  other.socket.close()
  await until(async () => {
    const stream = await call(acmeKey, `/v1/jobs/${id}/events`)
    await stream.body?.cancel()
    return stream.status === 200
  })
  const kept = await connect(opsKey)
  config.replace(replaceKeys(config.current(), 'acme', ['another-key-0123456789']))
  expect((await socket.closed).code).toBe(4401)
  expect(kept.socket.readyState).toBe(kept.socket.OPEN)
})
