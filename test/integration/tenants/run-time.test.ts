import { pino } from 'pino'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { createLiveConfig, type LiveConfig } from '../../../config/watch.ts'
import { closeRedis, createRedis } from '../../../lib/redis.ts'
import { openApi } from '../../../services.ts'
import { acmeKey, chatJob, opsKey, testTenants } from '../../helpers/api.ts'
import { keysOf, startTestRedis, type TestPlace, testRedis } from '../../helpers/redis.ts'
import { placeService } from '../../helpers/service.ts'

type Answer = { status: number; text: string; body: Json; headers: Headers }
type Json = ReturnType<typeof JSON.parse>
type Process = {
  config: LiveConfig
  call(method: string, path: string, body?: object | string, key?: string, headers?: object): Promise<Answer>
  close(): Promise<void>
}

async function openProcess(place: TestPlace): Promise<Process> {
  const config = createLiveConfig(
    configSchema.parse({
      ...placeService(place),
      providers: {
        openai: {
          kind: 'openai',
          base_url: 'http://127.0.0.1:9/v1',
          api_key: 'x',
          models: { small: {}, large: {} },
        },
        other: {
          kind: 'openai-compatible',
          base_url: 'http://127.0.0.1:9/v1',
          models: { chat: {}, dear: { price: { input: 0, output: 10 } } },
        },
      },
      routes: { fast: ['openai/small', 'other/chat'], best: ['other/chat'] },
      tenants: testTenants,
    }),
  )
  const { url, close } = await openApi({ config, log: pino({ level: 'silent' }), version: '0.0.0-test' })
  return {
    config,
    close,
    async call(method, path, body, key = opsKey, headers = {}) {
      const isText = typeof body === 'string'
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(body === undefined
            ? {}
            : { 'content-type': isText ? 'application/x-ndjson' : 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
      })
      const text = await response.text()
      return {
        status: response.status,
        text,
        body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : null,
        headers: response.headers,
      }
    },
  }
}

/** Repeats a request until the answer is right, for at most 5 s. */
async function within5s(ask: () => Promise<Answer>, isRight: (answer: Answer) => boolean): Promise<Answer> {
  const endsAt = performance.now() + 6_000
  for (;;) {
    const answer = await ask()
    if (isRight(answer) || performance.now() > endsAt) return answer
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('tenants at run time', () => {
  let one: Process
  let other: Process
  const place = { value: null as TestPlace | null }

  // For each test, so that its second try finds no tenant of the first.
  beforeEach(async () => {
    place.value = testRedis()
    one = await openProcess(place.value)
    other = await openProcess(place.value)
    return async () => {
      await one.close()
      await other.close()
    }
  })

  async function make(name: string, settings: object = {}, key: object = {}) {
    const tenant = await one.call('POST', '/v1/tenants', { name, ...settings })
    expect(tenant.status, tenant.text).toBe(201)
    const made = await one.call('POST', `/v1/tenants/${name}/keys`, key)
    expect(made.status, made.text).toBe(201)
    const secret: string = made.body.secret
    await within5s(
      () => other.call('GET', '/v1/jobs', undefined, secret),
      ({ status }) => status === 200 || status === 403,
    )
    return { secret, id: made.body.id as string, made }
  }

  it('makes a tenant and a key that every process takes within 5 s, and refuses it within 5 s', async () => {
    const { secret, id, made } = await make('shop', { weight: 3, limits: { max_queued: 7 } }, { name: 'web' })
    expect(secret).toMatch(/^sk-sluice-[A-Za-z0-9_-]{43}$/)
    expect(made.body).toMatchObject({ object: 'key', tenant: 'shop', name: 'web', scopes: ['jobs', 'read'] })
    expect(made.headers.get('cache-control')).toBe('no-store')
    for (const process of [one, other]) {
      const answer = await process.call('POST', '/v1/jobs', chatJob(), secret)
      expect(answer.status, answer.text).toBe(202)
      expect(process.config.current().tenants.shop).toMatchObject({ weight: 3, limits: { max_queued: 7 } })
    }
    const { body: shown } = await other.call('GET', '/v1/tenants/shop')
    expect(shown).toMatchObject({
      name: 'shop',
      source: 'api',
      weight: 3,
      max_queued: 7,
      counts: { queued: 2 },
    })
    const list = await other.call('GET', '/v1/tenants/shop/keys')
    expect(list.body.data).toEqual([expect.not.objectContaining({ secret: expect.anything() })])

    expect((await one.call('DELETE', `/v1/tenants/shop/keys/${id}`)).body.deleted).toBe(true)
    const refused = await within5s(
      () => other.call('GET', '/v1/jobs', undefined, secret),
      ({ status }) => status === 401,
    )
    expect(refused.status).toBe(401)
    expect((await one.call('DELETE', `/v1/tenants/shop/keys/${id}`)).status).toBe(404)
  })

  it('changes a tenant everywhere, member by member', async () => {
    await make('change', { weight: 2, limits: { max_queued: 5, requests_per_minute: 9 } })
    const patch = { weight: null, limits: { requests_per_minute: null, max_queued: 6 }, models: ['openai/*'] }
    const changed = await one.call('PATCH', '/v1/tenants/change', patch)
    expect(changed.body).toMatchObject({ weight: 1, limits: { max_queued: 6 }, models: ['openai/*'] })
    expect(changed.body.limits.requests_per_minute).toBeUndefined()
    await expect
      .poll(() => other.config.current().tenants.change, { timeout: 20_000 })
      .toMatchObject({
        weight: 1,
        limits: { max_queued: 6 },
        models: ['openai/*'],
      })
    const ofKeys = { per_fair_key: { max_running: 2, max_queued: 9 } }
    expect((await one.call('PATCH', '/v1/tenants/change', ofKeys)).body).toMatchObject(ofKeys)
    const less = { per_fair_key: { max_running: null } }
    expect((await one.call('PATCH', '/v1/tenants/change', less)).body.per_fair_key).toEqual({ max_queued: 9 })
    await expect
      .poll(() => other.config.current().tenants.change?.per_fair_key, { timeout: 20_000 })
      .toEqual({ max_queued: 9 })
    const gone = await one.call('PATCH', '/v1/tenants/change', { per_fair_key: null })
    expect(gone.body.per_fair_key).toBeNull()
    const before = (await one.call('GET', '/v1/audit')).body.data.length
    // The same values again are not a change.
    expect((await one.call('PATCH', '/v1/tenants/change', { limits: { max_queued: 6 } })).status).toBe(200)
    expect((await one.call('GET', '/v1/audit')).body.data.length).toBe(before)
  })

  it('restricts models on every door', async () => {
    const { secret } = await make(
      'narrow',
      { models: ['openai/*', 'best'] },
      { models: ['openai/small', 'best'] },
    )
    const call = (method: string, path: string, body?: object | string) =>
      one.call(method, path, body, secret)
    const models = await call('GET', '/v1/models')
    expect(models.body.data.map(({ id }: { id: string }) => id)).toEqual(['openai/small', 'fast', 'best'])
    const chat = (model: string) => ({ model, messages: [{ role: 'user', content: 'x' }] })
    const missing = { error: { code: 'model_not_found' } }
    for (const model of ['openai/large', 'other/chat', 'none']) {
      const job = { type: 'chat', body: chat(model) }
      for (const [path, body] of [
        ['/v1/jobs', job],
        ['/v1/chat/completions', chat(model)],
        ['/v1/embeddings', { model, input: 'x' }],
        ['/v1/responses', { model, input: 'x' }],
        ['/v1/schedules', { every: '1h', job }],
      ] as const) {
        const answer = await call('POST', path, body)
        expect([path, answer.status, answer.body]).toMatchObject([path, 404, missing])
        expect(answer.text).not.toContain('openai/large","')
      }
      expect((await call('GET', `/v1/models/${model}`)).body).toMatchObject(missing)
      const bulk = await call('POST', '/v1/jobs/bulk', `${JSON.stringify(job)}\n`)
      expect(bulk.body ?? JSON.parse(bulk.text)).toMatchObject(missing)
      const flow = await call('POST', '/v1/flows', { name: 'f', steps: { a: { job } } })
      expect(flow.status).toBeGreaterThanOrEqual(400)
      expect(flow.text).toContain(model)
    }
    const taken = await call('POST', '/v1/jobs', { type: 'chat', body: chat('fast') })
    expect(taken.body).toMatchObject({ lane: 'openai/small' })
    // An alias can be named, and means its target.
    expect((await call('POST', '/v1/jobs', { type: 'chat', body: chat('best') })).body.lane).toBe(
      'other/chat',
    )
    expect((await call('POST', '/v1/jobs/retry', {})).status).toBe(403)
    expect((await call('POST', '/v1/jobs/retry', { lane: 'openai/large' })).status).toBe(403)
    expect((await call('POST', '/v1/jobs/retry', { lane: 'openai/small' })).status).toBe(200)
  })

  it('gives each scope its own, and metrics nothing else', async () => {
    const { secret } = await make('watch', {}, { scopes: ['metrics'] })
    expect((await other.call('GET', '/metrics', undefined, secret)).status).toBe(200)
    for (const path of ['/v1/jobs', '/v1/models', '/v1/lanes', '/v1/tenants', '/v1/audit'])
      expect([path, (await other.call('GET', path, undefined, secret)).status]).toEqual([path, 403])
    const admin = (await one.call('POST', '/v1/tenants/watch/keys', { scopes: ['admin'] })).body.secret
    const asAdmin = await within5s(
      () => other.call('GET', '/v1/jobs', undefined, admin, { 'x-tenant': 'acme' }),
      ({ status }) => status === 200,
    )
    expect(asAdmin.status).toBe(200)
  })

  it('holds the budgets of a key, and of its tenant beside them', async () => {
    const budgets = (usd: number) => [{ usd, per: 'day' }]
    const { secret, made } = await make(
      'spender',
      { limits: { budgets: budgets(0.0035) } },
      { budgets: budgets(0.0015) },
    )
    expect(made.body.budgets).toEqual([{ usd: 0.0015, per: 'day', time_zone: 'UTC' }])
    const other = (await one.call('POST', '/v1/tenants/spender/keys', {})).body.secret
    await within5s(
      () => one.call('GET', '/v1/jobs', undefined, other),
      ({ status }) => status === 200,
    )
    const body = { model: 'other/dear', max_tokens: 100, messages: [{ role: 'user', content: 'x' }] }
    const submit = async (key: string) =>
      (await one.call('POST', '/v1/jobs', { type: 'chat', cache: 'off', body }, key)).status
    expect([await submit(secret), await submit(secret)]).toEqual([202, 429])
    expect([await submit(other), await submit(other), await submit(other)]).toEqual([202, 202, 429])
    const bad = await one.call('PATCH', '/v1/tenants/spender', {
      limits: { budgets: [{ usd: 1, per: 'day', time_zone: 'Mars/Olympus' }] },
    })
    expect(bad.body.error).toMatchObject({ code: 'invalid_request', param: 'limits.budgets[0].time_zone' })
  })

  it('refuses a key when its time is over', async () => {
    const soon = new Date(Date.now() + 700).toISOString()
    const { secret } = await make('brief', {}, { expires_at: soon })
    const end = await within5s(
      () => one.call('GET', '/v1/jobs', undefined, secret),
      ({ status }) => status === 401,
    )
    expect(end.status).toBe(401)
    const past = await one.call('POST', '/v1/tenants/brief/keys', { expires_at: '2020-01-01T00:00:00Z' })
    expect(past.body.error).toMatchObject({ code: 'invalid_request', param: 'expires_at' })
  })

  it('leaves tenants of the file alone, and names what is wrong', async () => {
    for (const [method, path, body] of [
      ['POST', '/v1/tenants', { name: 'acme' }],
      ['PATCH', '/v1/tenants/acme', { weight: 2 }],
      ['DELETE', '/v1/tenants/acme', undefined],
      ['POST', '/v1/tenants/acme/keys', {}],
      ['DELETE', '/v1/tenants/acme/keys/key_1', undefined],
    ] as const) {
      const answer = await one.call(method, path, body)
      expect([method, path, answer.status, answer.body.error.code]).toEqual([method, path, 409, 'read_only'])
    }
    expect((await one.call('GET', '/v1/tenants/acme')).body).toMatchObject({ source: 'file', admin: false })
    for (const [path, body, param] of [
      ['/v1/tenants', { name: 'a:b' }, 'name'],
      ['/v1/tenants', { name: '' }, 'name'],
      ['/v1/tenants', { name: 'x', weight: 0 }, 'weight'],
      ['/v1/tenants', { name: 'x', limits: { max_queued: -1 } }, 'limits.max_queued'],
      ['/v1/tenants', { name: 'x', per_fair_key: { max_running: 0 } }, 'per_fair_key.max_running'],
      ['/v1/tenants', { name: 'x', models: [] }, 'models'],
      ['/v1/tenants', { name: 'x', nothing: 1 }, 'nothing'],
    ] as const) {
      const answer = await one.call('POST', path, body)
      expect([answer.status, answer.body.error.code, answer.body.error.param]).toEqual([
        400,
        'invalid_request',
        param,
      ])
    }
    await make('wrong-keys')
    for (const [body, param] of [
      [{ scopes: ['everything'] }, 'scopes[0]'],
      [{ scopes: [] }, 'scopes'],
      [{ expires_at: 'tomorrow' }, 'expires_at'],
      [{ models: [''] }, 'models[0]'],
    ] as const) {
      const answer = await one.call('POST', '/v1/tenants/wrong-keys/keys', body)
      expect([answer.status, answer.body.error.param]).toEqual([400, param])
    }
    expect((await one.call('GET', '/v1/tenants/nobody')).status).toBe(404)
    expect((await one.call('POST', '/v1/tenants/nobody/keys', {})).status).toBe(404)
    expect((await one.call('POST', '/v1/tenants', { name: 'wrong-keys' })).body.error.code).toBe(
      'tenant_exists',
    )
    expect((await one.call('POST', '/v1/tenants', { name: 'y' }, acmeKey)).status).toBe(403)
  })

  it('does not delete a tenant with open work; afterwards its keys are gone, and do not come back', async () => {
    const { secret } = await make('leave')
    const job = (await one.call('POST', '/v1/jobs', chatJob(), secret)).body.id
    const every = { every: '1h', job: chatJob() }
    const schedule = (await one.call('POST', '/v1/schedules', every, secret)).body.id
    const refused = await one.call('DELETE', '/v1/tenants/leave')
    expect([refused.status, refused.body.error.code]).toEqual([409, 'tenant_in_use'])
    expect(refused.body.error.message).toContain('1 open job, 1 schedule')
    await one.call('POST', `/v1/jobs/${job}/cancel`, undefined, secret)
    await one.call('DELETE', `/v1/schedules/${schedule}`, undefined, secret)
    expect((await one.call('DELETE', '/v1/tenants/leave')).status).toBe(200)
    const gone = await within5s(
      () => other.call('GET', '/v1/jobs', undefined, secret),
      ({ status }) => status === 401,
    )
    expect(gone.status).toBe(401)
    expect((await one.call('GET', '/v1/tenants/leave')).status).toBe(404)
    await make('leave')
    expect((await other.call('GET', '/v1/jobs', undefined, secret)).status).toBe(401)
  })

  it('records who changed what, from where, and never a secret', async () => {
    const { secret, id } = await make('seen', { weight: 2 })
    await one.call('POST', '/v1/lanes/openai%2Fsmall/pause', { reason: 'a look' })
    await one.call('POST', '/v1/lanes/openai%2Fsmall/resume')
    const all = await other.call('GET', '/v1/audit')
    expect(all.text).not.toContain(secret)
    const lines = all.body.data.slice(0, 4)
    expect(lines.map(({ action }: { action: string }) => action)).toEqual([
      ...['lane.resume', 'lane.pause', 'key.create', 'tenant.create'],
    ])
    expect(lines[2]).toMatchObject({
      actor: { tenant: 'ops', key: null, ip: '127.0.0.1', request_id: expect.any(String) },
      target: { tenant: 'seen', key: id, lane: null },
    })
    expect(lines[3]).toMatchObject({ changes: { weight: { from: null, to: 2 } } })
    const page = await one.call('GET', '/v1/audit?limit=2')
    const rest = await one.call('GET', `/v1/audit?limit=2&after=${page.body.last_id}`)
    expect([...page.body.data, ...rest.body.data]).toEqual(lines)
    expect(page.body.has_more).toBe(true)
    const redis = createRedis({ ...place.value!, role: 'commands', name: 'test-audit' })
    onTestFinished(() => closeRedis(redis))
    const keys = await keysOf(redis, `${place.value!.prefix}:{registry}:*`)
    for (const key of keys) {
      const dump = await redis.call('DUMP', key)
      expect(String(dump)).not.toContain(secret.slice(10))
    }
  })

  it('makes one tenant of two requests at the same time', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        [one, other][index % 2]!.call('POST', '/v1/tenants', { name: 'race' }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)])
  })
})

describe('keys while Redis is away', () => {
  it('are accepted for 5 s at most, then refused as unknown; keys of the configuration go on', async () => {
    const server = await startTestRedis()
    const process = await openProcess({ url: server.url, prefix: 'test' })
    onTestFinished(() => process.close())
    await process.call('POST', '/v1/tenants', { name: 'away' })
    const { secret } = (await process.call('POST', '/v1/tenants/away/keys', {})).body
    const ask = (key: string) => process.call('GET', '/v1/models', undefined, key)
    expect(
      (
        await within5s(
          () => ask(secret),
          ({ status }) => status === 200,
        )
      ).status,
    ).toBe(200)
    await server.close()
    const away = await within5s(
      () => ask(secret),
      ({ status }) => status === 503,
    )
    expect([away.status, away.body.error.code]).toEqual([503, 'unavailable'])
    expect((await ask(opsKey)).status).toBe(200)
  })
})
