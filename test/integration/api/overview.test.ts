import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { overviewSchema } from '../../../api/overview/schema.ts'
import type { Overview } from '../../../api/overview/snapshot.ts'
import type { TenantView } from '../../../api/overview/tenants.ts'
import { tenantSchema as detailsSchema } from '../../../api/tenants/schema.ts'
import {
  acmeKey,
  chatJob,
  createTestApi,
  opsKey,
  otherKey,
  type TestApi,
  type TestApiOptions,
  testTenants,
} from '../../helpers/api.ts'
import { standForElection } from '../../helpers/maintainer.ts'
import { until } from '../../helpers/store.ts'

const opened: TestApi[] = []
afterAll(async () => {
  await Promise.all(opened.map((api) => api.close()))
})

async function open(options: TestApiOptions = {}): Promise<TestApi> {
  const api = await createTestApi({ tenants: testTenants, ...options })
  opened.push(api)
  return api
}

let texts = 0
async function createId(api: TestApi, key: string, members: object = {}): Promise<string> {
  const answer = await api.app.inject({
    method: 'POST',
    url: '/v1/jobs',
    headers: { authorization: `Bearer ${key}` },
    payload: chatJob({ ...members }, `text ${++texts}`),
  })
  return answer.json().id
}

const get = (api: TestApi, url: string, key = opsKey) =>
  api.app.inject({ url, headers: { authorization: `Bearer ${key}` } })
const tenantIn = (tenants: TenantView[], id: string) => tenants.find((tenant) => tenant.id === id)!

describe('the overview', () => {
  it('shows lanes, tenants, groups, batches and failures of all tenants at once', async () => {
    const api = await open()
    const failed = await createId(api, acmeKey, { group: 'done' })
    await createId(api, otherKey, { group: 'waiting' })
    await api.worker.finishFailed(failed, { code: 'provider_rejected' })
    const batch = await createBatch(api, acmeKey)

    expect((await get(api, '/v1/overview')).json()).toMatchObject({ maintainer: null })
    const prefix = api.root().slice(0, api.root().indexOf(':{'))
    standForElection({ redis: api.redis, prefix }, 'a-host:1')
    await until(async () => (await get(api, '/v1/overview')).json().maintainer !== null)
    const answer = await get(api, '/v1/overview')
    const overview = z.strictObject(overviewSchema.shape).parse(answer.json())
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(overview.lanes.map(({ id }) => id)).toContain('openai/small')
    expect(overview.maintainer).toMatchObject({ worker: 'a-host:1' })
    expect(Date.now() - Date.parse(overview.maintainer!.since)).toBeLessThan(10_000)
    expect(overview.tenants.map(({ id }) => id)).toEqual(['acme', 'other', 'ops'])
    expect(tenantIn(overview.tenants, 'acme')).toMatchObject({
      counts: { failed: 1, queued: 0 },
      max_queued: 1000,
      budget_usd_per_day: null,
      finished_per_minute: 1,
      share: 1,
    })
    // Open groups come first, though another changed later.
    expect(overview.groups.map(({ tenant, group, total }) => [tenant, group, total])).toEqual([
      ['other', 'waiting', 1],
      ['acme', 'done', 1],
    ])
    expect(overview.batches).toMatchObject([
      { tenant: 'acme', id: batch, status: 'validating', request_counts: { total: 0 } },
    ])
    expect(overview.failures).toMatchObject([
      { tenant: 'acme', lane: 'openai/small', code: 'provider_rejected', count: 1 },
    ])
  })

  it('shows of hundreds of tenants those that have open jobs', async () => {
    const names = Array.from({ length: 250 }, (_, index) => `t${1000 + index}`)
    const tenants = Object.fromEntries(names.map((name) => [name, { keys: [`key-of-tenant-${name}`] }]))
    const api = await open({ tenants: { ...tenants, ...testTenants } })
    await createId(api, `key-of-tenant-${names.at(-1)}`)
    const shown = ((await get(api, '/v1/overview')).json() as Overview).tenants
    expect(shown).toHaveLength(200)
    expect(tenantIn(shown, names.at(-1)!)).toMatchObject({ counts: { queued: 1 } })
    expect((await get(api, '/v1/tenants')).json().data).toHaveLength(253)
  })

  it('is for administrators alone, as the list of tenants is', async () => {
    const api = await open()
    for (const url of ['/v1/overview', '/v1/overview/events', '/v1/tenants']) {
      expect((await get(api, url, acmeKey)).statusCode, url).toBe(403)
    }
  })

  it('shows the default tenant of an open service', async () => {
    const api = await open({ tenants: {} })
    const overview = (await get(api, '/v1/overview')).json() as Overview
    expect(overview.tenants.map(({ id }) => id)).toEqual(['default'])
  })
})

describe('the list of tenants', () => {
  it('says what each has open, spent and finished', async () => {
    const api = await open({
      tenants: { ...testTenants, acme: { keys: [acmeKey], weight: 3, limits: { budget_usd_per_day: 5 } } },
    })
    const ids = [await createId(api, acmeKey), await createId(api, acmeKey), await createId(api, otherKey)]
    await api.worker.finish(ids[0]!, { costUsd: 0.5 })
    await api.worker.finish(ids[2]!)
    const { data } = (await get(api, '/v1/tenants')).json() as { data: TenantView[] }
    expect(z.array(z.strictObject(detailsSchema.shape)).parse(data)).toHaveLength(3)
    expect(tenantIn(data, 'acme')).toMatchObject({
      weight: 3,
      counts: { scheduled: 0, queued: 1, running: 0, completed: 1, failed: 0, cancelled: 0 },
      spent_usd: 0.5,
      budget_usd_per_day: 5,
      finished_per_minute: 1,
      share: 0.5,
    })
    expect(tenantIn(data, 'ops')).toMatchObject({ finished_per_minute: 0, share: 0 })
  })
})

// Each waits for a second to pass, so they wait together.
describe.concurrent('the stream of overviews', () => {
  it('come at once and then one after the other, to all that watch from one sampler', async () => {
    const api = await open()
    const url = await api.listen()
    const first = await watch(url)
    const one = await first.next()
    await createId(api, acmeKey)
    const two = await first.next()
    expect([one, two].map(({ tenants }) => tenantIn(tenants, 'acme').counts.queued)).toEqual([0, 1])
    expect(Date.parse(two.at) - Date.parse(one.at)).toBeGreaterThan(900)

    const second = await watch(url)
    // Not older than the interval, so it is the first one's last sample.
    expect((await second.next()).at).toBe(two.at)
    const [mine, theirs] = await Promise.all([first.next(), second.next()])
    expect(mine).toEqual(theirs)
    first.close()
    second.close()
  })

  it('asks Redis for nothing while nobody watches', async () => {
    const api = await open({ own: true })
    const url = await api.listen()
    const stream = await watch(url)
    await stream.next()
    stream.close()
    let ran = await scriptsRun(api)
    expect(ran).toBeGreaterThan(0)
    // What was under way ends; then there is silence for longer than the interval.
    await until(async () => {
      const before = ran
      await sleep(1_300)
      ran = await scriptsRun(api)
      return ran === before
    })
  })

  it('goes on after the store was away', async () => {
    const api = await open({ own: true })
    const url = await api.listen()
    const stream = await watch(url)
    const { at } = await stream.next()
    const thaw = api.freeze()
    await until(() => api.logged.length > 0, 10_000)
    thaw()
    expect(Date.parse((await stream.next()).at)).toBeGreaterThan(Date.parse(at))
    stream.close()
    expect(new Set(api.logged.map(({ level }) => level))).toEqual(new Set([40]))
  })
})

/** How many scripts this Redis has run. */
async function scriptsRun(api: TestApi): Promise<number> {
  const stats = await api.redis.info('commandstats')
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

/** Reads a stream of overviews, one by one. */
async function watch(url: string): Promise<{ next(): Promise<Overview>; close(): void }> {
  const closing = new AbortController()
  const response = await fetch(`${url}/v1/overview/events`, {
    headers: { authorization: `Bearer ${opsKey}` },
    signal: closing.signal,
  })
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/event-stream; charset=utf-8',
  ])
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    async next() {
      for (;;) {
        const end = text.indexOf('\n\n')
        if (end < 0) {
          const { value, done } = await reader.read()
          if (done) throw new Error('the stream ended')
          text += value
          continue
        }
        const block = text.slice(0, end)
        text = text.slice(end + 2)
        if (block.startsWith('event: overview\ndata: ')) return JSON.parse(block.slice(block.indexOf('{')))
      }
    },
    close: () => closing.abort(),
  }
}

async function createBatch(api: TestApi, key: string): Promise<string> {
  const headers = { authorization: `Bearer ${key}` }
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob(['{}\n']), 'batch.jsonl')
  const request = new Request('http://localhost/', { method: 'POST', body: form })
  const file = await api.app.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { ...headers, 'content-type': request.headers.get('content-type')! },
    payload: Buffer.from(await request.arrayBuffer()),
  })
  const payload = {
    input_file_id: file.json().id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  }
  return (await api.app.inject({ method: 'POST', url: '/v1/batches', headers, payload })).json().id
}
