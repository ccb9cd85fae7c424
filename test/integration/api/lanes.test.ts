import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { LaneView } from '../../../api/lanes/lanes.ts'
import { resolveLane } from '../../../config/lanes.ts'
import type { Config } from '../../../config/schema.ts'
import { wakeChannel } from '../../../jobs/keys.ts'
import { closeRedis, createRedis, type RedisClient } from '../../../lib/redis.ts'
import { createGate } from '../../../ratelimit/create-gate.ts'
import type { Gate } from '../../../ratelimit/gate.ts'
import { createLatencies } from '../../../ratelimit/latencies.ts'
import { acmeKey, chatJob, opsKey, parseTestConfig, testTenants } from '../../helpers/api.ts'
import { type TestPlace, testRedis } from '../../helpers/redis.ts'
import { openServiceWorker, openTestService, placeService, type TestService } from '../../helpers/service.ts'
import { until } from '../../helpers/store.ts'

const provider = {
  kind: 'openai-compatible' as const,
  base_url: 'http://127.0.0.1:9/v1',
  api_key: 'unused',
}
const cost = { requests: 1, tokens: 1000, inputTokens: 1000, outputTokens: 0 }

let place: TestPlace
let config: Config
let service: TestService
let redis: RedisClient
let gate: Gate
beforeEach(async () => {
  place = testRedis()
  config = parseTestConfig({
    ...placeService(place),
    tenants: testTenants,
    routes: {},
    providers: {
      openai: {
        ...provider,
        limits: {
          requests_per_minute: 60_000,
          tokens_per_minute: 6_000_000,
          max_concurrency: 8,
          headroom: 0.5,
          window: '60s',
        },
        shared_limits: { family: { models: ['small', 'org/*'], tokens_per_minute: 1_200_000 } },
        models: { small: {}, 'org/large:v2': { limits: { requests_per_day: 100 } } },
      },
      any: { ...provider, limits: { window: 'auto' }, models: { '*': {} } },
    },
  })
  service = await openTestService(config)
  redis = createRedis({ ...place, role: 'commands', name: 'test-lanes' })
  onTestFinished(() => closeRedis(redis))
  gate = createGate({ redis, prefix: place.prefix })
})

const get = (path: string, key = opsKey) => service.call<LaneView>('GET', path, { key })
const post = (path: string, body?: unknown, on = service) =>
  on.call<LaneView>('POST', path, { key: opsKey, ...(body === undefined ? {} : { body }) })
const listIds = async () => {
  const { body } = await service.call<{ data: LaneView[] }>('GET', '/v1/lanes', { key: opsKey })
  return body.data.map((lane) => lane.id)
}
const small = () => resolveLane(config, 'openai/small')!
/** Takes a permit as soon as the pacing lets it. */
async function takeOne(): Promise<string> {
  let permit: string | undefined
  await until(async () => {
    permit = (await gate.take(small(), [{ cost }])).permits[0]
    return permit !== undefined
  })
  return permit!
}

describe('the list of lanes', () => {
  it('has every configured lane, by id, in the envelope of lists', async () => {
    const { status, body } = await service.call<{ data: LaneView[] }>('GET', '/v1/lanes', { key: opsKey })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      object: 'list',
      has_more: false,
      first_id: 'openai/org/large:v2',
      last_id: 'openai/small',
    })
    expect(body.data.map((lane) => lane.id)).toEqual(['openai/org/large:v2', 'openai/small'])
  })

  it('has a lane of a wildcard once that had work', async () => {
    expect(await listIds()).not.toContain('any/thing')
    const messages = [{ role: 'user', content: 'hello' }]
    const job = { type: 'chat', body: { model: 'any/thing', messages } }
    expect((await service.submit(job, acmeKey)).status).toBe(202)
    await until(async () => (await listIds()).includes('any/thing'))
    expect(await listIds()).toEqual(['any/thing', 'openai/org/large:v2', 'openai/small'])
  })
})

describe('a lane', () => {
  it('is found by its id, with slashes plain or encoded', async () => {
    for (const [path, id] of [
      ['openai/small', 'openai/small'],
      ['openai%2Fsmall', 'openai/small'],
      ['openai/org/large:v2', 'openai/org/large:v2'],
      ['openai%2Forg%2Flarge%3Av2', 'openai/org/large:v2'],
      ['any/whatever', 'any/whatever'],
      ['any/pause', 'any/pause'],
    ]) {
      const { status, body } = await get(`/v1/lanes/${path}`)
      expect([status, body.id, body.object]).toEqual([200, id, 'lane'])
    }
  })

  it.each(['openai/none', 'none/small', 'openai', 'any/*', 'any/', 'any/a%20', '%2F', 'constructor/x'])(
    'named %s does not exist',
    async (path) => {
      for (const reply of [await get(`/v1/lanes/${path}`), await post(`/v1/lanes/${path}/pause`)]) {
        expect([reply.status, reply.body.error?.code]).toEqual([404, 'not_found'])
      }
    },
  )

  it('shows the window that it begins with where it has to find it out', async () => {
    const { body } = await get('/v1/lanes/any/thing')
    expect(body).toMatchObject({ window: { configured: 'auto', learned: 1000 }, limits: { window_ms: 1000 } })
  })

  it('shows its limits as configured and what leaves at most', async () => {
    expect((await get('/v1/lanes/openai/small')).body).toMatchObject({
      provider: 'openai',
      model: 'small',
      kind: 'openai-compatible',
      limits: {
        requests: 60_000,
        tokens: 6_000_000,
        input_tokens: null,
        output_tokens: null,
        requests_per_day: null,
        concurrency: 8,
        window_ms: 60_000,
        headroom: 0.5,
      },
      window: { configured: 60_000, learned: null },
      learned: { requests: null, tokens: null, concurrency: null },
      rates: { requests: 30_000, tokens: 3_000_000, input_tokens: null, output_tokens: null },
      speed: 1,
      levels: { input_tokens: null, output_tokens: null },
      utilisation: 0,
      in_flight: 0,
      paused_until: null,
      paused_reason: null,
      waiting_for: null,
      breaker: { state: 'closed', failures: 0, held_tenants: [], last_broken: [] },
      latency_ms: { p50: null, p95: null },
      throttled: 0,
    })
    const large = (await get('/v1/lanes/openai/org/large:v2')).body
    expect(large.limits).toMatchObject({ requests: 60_000, requests_per_day: 100 })
  })

  it('shows what waits in it, and what is due later or held', async () => {
    const worker = openServiceWorker(config)
    for (const text of ['one', 'two', 'three']) await service.submit(chatJob({}, text), acmeKey)
    await service.submit(chatJob({ delay_ms: 3_600_000 }, 'later'), acmeKey)
    await worker.next()
    await until(async () => {
      const { waiting, delayed, held } = (await get('/v1/lanes/openai/small')).body.backlog
      return waiting === 2 && delayed === 1 && held === 1
    })
  })

  it('shows what is under way and how much of the window is taken', async () => {
    await takeOne()
    const { in_flight, used, utilisation, levels } = (await get('/v1/lanes/openai/small')).body
    expect(in_flight).toBe(1)
    expect(used).toMatchObject({ requests: 1, tokens: 1000 })
    expect(utilisation).toBeCloseTo(1000 / 6_000_000)
    expect(levels.tokens).toEqual(expect.any(Number))
  })

  it('shows limits that the provider reported, and its 429s', async () => {
    const feedback = { limitRequests: 12_000, limitTokens: 3_000_000 }
    await gate.settle(small(), [{ permit: await takeOne(), actual: cost, feedback }])
    await gate.settle(small(), [{ permit: await takeOne(), actual: cost, throttledMs: 60_000 }])
    const lane = (await get('/v1/lanes/openai/small')).body
    expect(lane.learned).toEqual({ requests: 12_000, tokens: 3_000_000, concurrency: null })
    expect(lane.rates).toMatchObject({ requests: 6000, tokens: 1_500_000 })
    expect(lane).toMatchObject({ throttled: 1, paused_reason: 'throttled', waiting_for: 'provider_pause' })
    expect(lane.speed).toBeCloseTo(0.9)
    expect(Date.parse(lane.paused_until!)).toBeGreaterThan(Date.now() + 50_000)
  })

  it('shows that its breaker has opened, until it is resumed', async () => {
    const breaker = async () => (await get('/v1/lanes/openai/small')).body.breaker
    let failures = 0
    while ((await gate.read(small())).breaker.state === 'closed') {
      expect(await breaker()).toMatchObject({ state: 'closed', failures })
      await gate.settle(small(), [{ permit: await takeOne(), actual: cost, outcome: 'broken' }])
      failures++
    }
    expect(await breaker()).toMatchObject({ state: 'open', failures })
    expect((await get('/v1/lanes/openai/small')).body.paused_reason).toBe('breaker_open')
    expect((await post('/v1/lanes/openai/small/resume')).body.breaker).toMatchObject({
      state: 'closed',
      failures: 0,
    })
  })

  it('shows the latencies of its last calls', async () => {
    const latencies = createLatencies({ redis, prefix: config.redis.prefix })
    for (let ms = 1; ms <= 100; ms++) latencies.record('openai/small', ms)
    await latencies.close()
    expect((await get('/v1/lanes/openai/small')).body.latency_ms).toEqual({ p50: 51, p95: 96 })
  })
})

describe('steering a lane', () => {
  it('holds on every instance: one pauses, the other sees it and resumes', async () => {
    const other = await openTestService(config)
    const paused = await post('/v1/lanes/openai/small/pause')
    expect(paused.status).toBe(200)
    expect(paused.body).toMatchObject({ id: 'openai/small', paused_reason: 'paused by hand' })
    expect(Date.parse(paused.body.paused_until!)).toBeGreaterThan(Date.now() + 1e11)
    expect(await gate.take(small(), [{ cost }])).toMatchObject({ permits: [], waitingFor: 'provider_pause' })

    const seen = await other.call<LaneView>('GET', '/v1/lanes/openai%2Fsmall', { key: opsKey })
    expect(seen.body.paused_until).toBe(paused.body.paused_until)

    const resumed = await post('/v1/lanes/openai%2Fsmall/resume', undefined, other)
    expect(resumed.body).toMatchObject({ paused_until: null, paused_reason: null, waiting_for: null })
    await takeOne()
    expect((await get('/v1/lanes/openai/small')).body.paused_until).toBeNull()
  })

  it('pauses for the requested time, and says why', async () => {
    const before = Date.now()
    const { body } = await post('/v1/lanes/openai/small/pause', { for_ms: 60_000, reason: 'maintenance' })
    expect(body.paused_reason).toBe('maintenance')
    const until = Date.parse(body.paused_until!)
    expect(until).toBeGreaterThanOrEqual(before + 59_000)
    expect(until).toBeLessThanOrEqual(Date.now() + 61_000)
  })

  it('leaves other lanes alone', async () => {
    await post('/v1/lanes/openai/small/pause')
    expect((await get('/v1/lanes/openai/org/large:v2')).body.paused_until).toBeNull()
  })

  it('reaches lanes of a wildcard as well, and those whose name ends like an action', async () => {
    for (const id of ['any/thing', 'any/a/b', 'any/pause', 'any/resume']) {
      expect((await post(`/v1/lanes/${id}/pause`)).body).toMatchObject({ id, waiting_for: 'provider_pause' })
      expect((await get(`/v1/lanes/${id}`)).body.paused_until).not.toBeNull()
      expect((await post(`/v1/lanes/${id}/resume`)).body).toMatchObject({ id, paused_until: null })
    }
  })

  it('wakes the workers when it resumes', async () => {
    const ear = createRedis({ ...place, role: 'subscriber', name: 'test-ear' })
    onTestFinished(() => closeRedis(ear))
    const woken = new Promise((resolve) => ear.once('message', (_channel, lane) => resolve(lane)))
    await ear.subscribe(wakeChannel(config.redis.prefix))
    await post('/v1/lanes/openai/small/pause')
    await post('/v1/lanes/openai/small/resume')
    expect(await woken).toBe('openai/small')
  })

  it.each([
    ['pause', { for_ms: 0 }, 'for_ms'],
    ['pause', { for_ms: 1.5 }, 'for_ms'],
    ['pause', { reason: '' }, 'reason'],
    ['pause', { until: 'tomorrow' }, 'until'],
    ['resume', { for_ms: 5 }, 'body'],
  ])('refuses %s with the body %j', async (action, body, param) => {
    const reply = await post(`/v1/lanes/openai/small/${action}`, body)
    expect([reply.status, reply.body.error?.code, reply.body.error?.param]).toEqual([
      400,
      'invalid_request',
      param,
    ])
    expect((await get('/v1/lanes/openai/small')).body.paused_until).toBeNull()
  })

  it('has no other actions', async () => {
    for (const path of ['openai/small', 'openai/small/stop', 'openai/small/pause/']) {
      expect((await post(`/v1/lanes/${path}`)).status).toBe(404)
    }
    expect((await get('/v1/lanes/openai/small')).body.paused_until).toBeNull()
  })
})

it('only administrators see and steer lanes', async () => {
  for (const [method, path] of [
    ['GET', '/v1/lanes'],
    ['GET', '/v1/lanes/openai/small'],
    ['GET', '/v1/lanes/openai/none'],
    ['POST', '/v1/lanes/openai/small/pause'],
    ['POST', '/v1/lanes/openai/small/resume'],
  ] as const) {
    const refused = await service.call(method, path, { key: acmeKey })
    expect([refused.status, refused.body.error?.code]).toEqual([403, 'forbidden'])
    expect((await service.call(method, path)).status).toBe(401)
  }
  expect((await get('/v1/lanes/openai/small')).body.paused_until).toBeNull()
})

describe('a shared limit', () => {
  it('is shown with every lane that it names, and as what holds one back while another has used it', async () => {
    const family = { name: 'family', used: { requests: 1 }, in_flight: 1, utilisation: 1 / 1200 }
    await takeOne()
    for (const id of ['openai/small', 'openai/org/large:v2']) {
      const { body } = await get(`/v1/lanes/${id}`)
      expect(body.shared_limits).toMatchObject([family])
      expect(body.held_back_by).toBeNull()
    }
    expect((await get('/v1/lanes/any/thing')).body.shared_limits).toEqual([])
    const permit = await takeOne()
    await gate.settle(small(), [
      { permit, actual: cost, throttledMs: 60_000, throttledReason: 'rate limited' },
    ])
    // The family is fuller than the lane's own limits: the 429 is about it, too.
    const { body } = await get('/v1/lanes/openai/org/large:v2')
    expect(body).toMatchObject({
      held_back_by: { kind: 'shared_limit', name: 'family' },
      paused_reason: 'rate limited',
      waiting_for: 'provider_pause',
    })
    await post('/v1/lanes/openai/small/resume')
    expect((await get('/v1/lanes/openai/org/large:v2')).body.paused_until).toBeNull()
  })
})
