import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { closeRedis, createRedis, type RedisClient } from '../../../lib/redis.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'
import { testRedis } from '../../helpers/redis.ts'
import {
  chat,
  createBulk,
  createJob,
  get,
  getJob,
  post,
  type Stack,
  startStack,
  waitForJob,
} from '../../helpers/stack.ts'

const place = testRedis()
let folder: string
let postgres: TestPostgres
let redis: RedisClient

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-history-'))
  postgres = await startTestPostgres()
  redis = createRedis({ ...place, role: 'commands', name: 'test-history' })
}, 60_000)

afterAll(async () => {
  await closeRedis(redis)
  await postgres.close()
  await rm(folder, { recursive: true, force: true })
})

type List = { data: Job[]; has_more: boolean; last_id: string | null }

describe.each([
  ['SQLite', async () => `sqlite:${join(folder, 'history.db')}`],
  ['PostgreSQL', () => postgres.database('jobs')],
] as const)('jobs that moved to %s', (kind, open) => {
  let stack: Stack
  let url: string
  const own = { ...place, prefix: `${place.prefix}-${kind}` }
  const root = `${own.prefix}:{t:default}`

  beforeAll(async () => {
    const extra = `history: { url: "${await open()}" }\njobs: { hot: 1s, retain: 1h }\n`
    stack = await startStack({ redis: own, extra })
    url = stack.urls[0]!
  }, 60_000)
  afterAll(() => stack.stop())

  /** Resolves when Redis has none of them. */
  async function moved(...ids: string[]): Promise<void> {
    await expect
      .poll(() => redis.exists(...ids.map((id) => `${root}:job:${id}`)), { timeout: 20_000, interval: 50 })
      .toBe(0)
  }

  const list = (query: string) => get<List>(url, `/v1/jobs?${query}`)
  const status = async (path: string, method = 'GET') => (await fetch(url + path, { method })).status

  test('are read as they were, wherever they are', async () => {
    const key = { 'content-type': 'application/json', 'idempotency-key': `key-${kind}` }
    const body = JSON.stringify(chat('hello', { group: 'g', metadata: { user: 'u1' }, fair_key: 'f' }))
    const create = () => fetch(`${url}/v1/jobs`, { method: 'POST', headers: key, body })
    const { id } = (await (await create()).json()) as Job
    const done = await waitForJob(url, id)
    expect(done).toMatchObject({ status: 'completed', fair_key: 'f' })
    const before = {
      job: await getJob(url, id),
      attempts: await get(url, `/v1/jobs/${id}/attempts`),
      request: await get(url, `/v1/jobs/${id}/request`),
      group: await get<object>(url, '/v1/groups/g'),
      list: await list('group=g'),
    }
    await moved(id)
    expect({
      job: await getJob(url, id),
      attempts: await get(url, `/v1/jobs/${id}/attempts`),
      request: await get(url, `/v1/jobs/${id}/request`),
      group: await get(url, '/v1/groups/g'),
      list: await list('group=g'),
    }).toEqual(before)
    expect((await list('group=g&include=result')).data[0]?.result).toEqual(before.job.result)
    expect(await get(url, `/v1/jobs/${id}?wait=5`)).toEqual(before.job)
    expect(await get(url, '/v1/groups')).toMatchObject({ data: [{ group: 'g', total: 1 }] })
    // The key is good for a day, and buys nothing twice.
    const again = await create()
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(((await again.json()) as Job).id).toBe(id)
    // A job that equals it shares a group with it.
    const { id: second } = await createJob(url, chat('hello 2', { group: 'g' }))
    await waitForJob(url, second)
    expect(await get(url, '/v1/groups/g')).toMatchObject({ total: 2, counts: { completed: 2 } })
    expect((await list('group=g')).data.map((job) => job.id)).toEqual([second, id])
    expect(await status(`/v1/jobs/${id}/cancel`, 'POST')).toBe(409)
    expect(await status(`/v1/jobs/${id}/retry`, 'POST')).toBe(409)
    const events = await (await fetch(`${url}/v1/jobs/${id}/events`)).text()
    expect(events).toContain('event: job.completed')
    expect(await status(`/v1/jobs/${id}`, 'DELETE')).toBe(200)
    expect(await status(`/v1/jobs/${id}`)).toBe(404)
    expect(await get(url, '/v1/groups/g')).toMatchObject({ total: 1 })
    expect(((await (await create()).json()) as Job).id).not.toBe(id)
  }, 60_000)

  test('are one list with those that are not, page after page', async () => {
    const lines = Array.from({ length: 25 }, (_, at) => chat(`page ${at}`, { group: 'pages' }))
    const first = await createBulk(url, lines.slice(0, 15))
    await Promise.all(first.map((id) => waitForJob(url, id)))
    await moved(...first)
    const later = await createBulk(url, lines.slice(15))
    const found: string[] = []
    let after = ''
    for (;;) {
      const page = await list(`group=pages&limit=4${after}`)
      found.push(...page.data.map(({ id }) => id))
      if (!page.has_more) break
      after = `&after=${page.last_id}`
    }
    const sorted = (ids: string[]) => [...ids].sort()
    expect(found).toHaveLength(25)
    expect(sorted(found)).toEqual(sorted([...first, ...later]))
    const times = await Promise.all(found.map(async (id) => (await getJob(url, id)).created_at))
    expect(times).toEqual([...times].sort().reverse())
    await Promise.all(later.map((id) => waitForJob(url, id)))
    expect(await get(url, '/v1/groups/pages')).toMatchObject({ total: 25, counts: { completed: 25 } })
  }, 60_000)

  test('go on when they are queued again', async () => {
    const { id } = await createJob(url, chat('later', { group: 'again', delay_ms: 3_600_000 }))
    expect(await status(`/v1/jobs/${id}/cancel`, 'POST')).toBe(200)
    await moved(id)
    expect(await get(url, '/v1/groups/again')).toMatchObject({ total: 1, counts: { cancelled: 1 } })
    expect(await status(`/v1/jobs/${id}/retry`, 'POST')).toBe(200)
    expect(await waitForJob(url, id)).toMatchObject({ status: 'completed' })
    expect(await get(url, '/v1/groups/again')).toMatchObject({
      total: 1,
      counts: { completed: 1, cancelled: 0 },
    })
    await moved(id)
    expect(await getJob(url, id)).toMatchObject({ status: 'completed' })
    expect(await get(url, '/v1/groups/again')).toMatchObject({
      total: 1,
      counts: { completed: 1, cancelled: 0 },
    })
    expect((await post(url, '/v1/jobs/retry', { group: 'again' })).status).toBe(200)
  }, 60_000)

  // A file is there as long as its machine.
  test.runIf(kind === 'PostgreSQL')(
    'are all there after the database was away',
    async () => {
      const old = await createJob(url, chat('before'))
      await waitForJob(url, old.id)
      await moved(old.id)
      await postgres.kill()
      const ids = await createBulk(
        url,
        Array.from({ length: 30 }, (_, at) => chat(`away ${at}`, { group: 'away' })),
      )
      const ended = await Promise.all(ids.map((id) => waitForJob(url, id)))
      expect(ended.every((job) => job.status === 'completed')).toBe(true)
      expect(await get(url, '/v1/groups/away')).toMatchObject({ total: 30, counts: { completed: 30 } })
      const refused = await fetch(`${url}/v1/jobs/${old.id}`)
      expect([refused.status, refused.headers.has('retry-after')]).toEqual([503, true])
      expect(await status('/v1/jobs')).toBe(503)
      expect(await status('/readyz')).toBe(200)
      expect(await status(`/v1/jobs/${ids[0]}`, 'DELETE')).toBe(200)
      expect(await status(`/v1/jobs/${ids[0]}`)).toBe(503)
      await postgres.start()
      await moved(...ids)
      expect(await status(`/v1/jobs/${ids[0]}`)).toBe(404)
      expect(await get(url, '/v1/groups/away')).toMatchObject({ total: 29, counts: { completed: 29 } })
      for (const id of [old.id, ...ids.slice(1)]) expect((await getJob(url, id)).result).not.toBeNull()
      expect(stack.output()).toContain('the history is available again')
    },
    60_000,
  )
})
