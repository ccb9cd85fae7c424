import { expect, it, onTestFinished } from 'vitest'
import type { ConfigInput } from '../../../config/schema.ts'
import { acmeKey, chatJob, createTestApi, opsKey, otherKey, testTenants } from '../../helpers/api.ts'
import { keysOf } from '../../helpers/redis.ts'

const providers: ConfigInput['providers'] = {
  openai: {
    kind: 'openai',
    base_url: 'http://127.0.0.1:9/v1',
    api_key: 'unused',
    max_lanes: 3,
    models: { small: {}, '*': {}, '/models/named here': {} },
  },
}

async function start() {
  const api = await createTestApi({ tenants: testTenants, providers })
  onTestFinished(() => api.close())
  const as = (key: string) => ({ authorization: `Bearer ${key}` })
  const create = (model: string, key = acmeKey, headers = {}) =>
    api.app.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: { ...as(key), ...headers },
      payload: chatJob({
        body: { model: `openai/${model}`, messages: [{ role: 'user', content: 'hello' }] },
      }),
    })
  const get = async (url: string, key = acmeKey) => await api.app.inject({ url, headers: as(key) })
  return { api, create, get, as }
}

it('bounds the models that only "*" covers, separately for each tenant, and names the bound', async () => {
  const { api, create, as } = await start()
  const key = { 'idempotency-key': 'the first' }
  for (const model of ['a', 'b', 'c']) {
    expect((await create(model, acmeKey, model === 'a' ? key : {})).statusCode).toBe(202)
  }
  const refused = await create('d')
  expect(refused.statusCode).toBe(429)
  expect(refused.json().error).toMatchObject({
    code: 'queue_full',
    param: 'body.model',
    message: expect.stringContaining('providers.openai.max_lanes: 3'),
  })
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(60)
  // Models in use, models with a name, a replay, and other tenants are not affected.
  for (const model of ['a', 'small', '/models/named here']) expect((await create(model)).statusCode).toBe(202)
  expect((await create('a', acmeKey, key)).headers['idempotent-replayed']).toBe('true')
  expect((await create('d', otherKey)).statusCode).toBe(202)
  const bulk = await api.app.inject({
    method: 'POST',
    url: '/v1/jobs/bulk',
    headers: as(acmeKey),
    payload: ['c', 'e', 'b'].map((model) => chatJob({ body: { model: `openai/${model}`, messages: [] } })),
  })
  expect(bulk.statusCode).toBe(200)
  expect(await api.redis.zcard(`${api.root('acme')}:models:openai`)).toBe(3)
  expect(await api.redis.pttl(`${api.root('acme')}:models:openai`)).toBeGreaterThan(0)
})

it('lists the models that the tenant used, and no other tenant', async () => {
  const { create, get } = await start()
  await create('/models/llama 3.gguf')
  await create('small')
  const idsOf = async (key: string) =>
    (await get('/v1/models', key)).json().data.map(({ id }: { id: string }) => id)
  expect(await idsOf(acmeKey)).toEqual([
    'openai/small',
    'openai//models/named here',
    'openai//models/llama 3.gguf',
    'fast',
  ])
  expect(await idsOf(otherKey)).toEqual(['openai/small', 'openai//models/named here', 'fast'])
})

it('has lanes whose models begin with a slash or have blanks, in every spelling', async () => {
  const { api, create, get, as } = await start()
  expect((await create('/models/llama 3.gguf')).statusCode).toBe(202)
  const id = 'openai//models/llama 3.gguf'
  for (const path of [encodeURIComponent(id), id.replaceAll(' ', '%20')]) {
    const lane = await get(`/v1/lanes/${path}`, opsKey)
    expect(lane.statusCode, path).toBe(200)
    expect(lane.json()).toMatchObject({ id, model: '/models/llama 3.gguf' })
    for (const action of ['pause', 'resume']) {
      const url = `/v1/lanes/${path}/${action}`
      const steered = await api.app.inject({ method: 'POST', url, headers: as(opsKey) })
      expect(steered.statusCode, url).toBe(200)
    }
  }
  expect((await get(`/v1/jobs?lane=${encodeURIComponent(id)}`)).json().data).toHaveLength(1)
  for (const model of [' x', 'x ', 'x\ty', 'x\n', '']) {
    expect((await create(model)).json().error.code, JSON.stringify(model)).toBe('model_not_found')
  }
})

it('reads lanes without making a key', async () => {
  const { api, get } = await start()
  const prefix = api.root().slice(0, api.root().indexOf(':{'))
  await get('/v1/models')
  const before = await keysOf(api.redis, `${prefix}:*`)
  const list = (await get('/v1/lanes', opsKey)).json()
  expect(list.data).toHaveLength(2)
  for (const lane of ['openai/small', 'openai/never-used']) {
    expect((await get(`/v1/lanes/${encodeURIComponent(lane)}`, opsKey)).statusCode).toBe(200)
  }
  expect(await keysOf(api.redis, `${prefix}:*`)).toEqual(before)
})
