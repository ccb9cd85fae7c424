import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { closeRedis, createRedis, type RedisClient } from '../../../lib/redis.ts'
import { callCli } from '../../helpers/call-cli.ts'
import { testKeys } from '../../helpers/encryption.ts'
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

const encryption = `encryption: { keys: ["${testKeys[0]}"] }\n`

/** A prompt, the answer to it, and a fair key that no reader of an encrypted database may find. */
const CANARY = 'canary-51c2e8'

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
    const extra = `history: { url: "${await open()}" }\njobs: { hot: 1s, retain: 1h }\n${kind === 'SQLite' ? encryption : ''}`
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

  /** The beginning of a stream, until it has enough. */
  async function readUntil(address: string, isEnough: (text: string) => boolean): Promise<string> {
    const leaving = new AbortController()
    const response = await fetch(address, { signal: leaving.signal })
    let text = ''
    for await (const bytes of response.body!) {
      text += Buffer.from(bytes).toString()
      if (isEnough(text)) break
    }
    leaving.abort()
    return text
  }

  test('are read unchanged, in both places', async () => {
    const key = { 'content-type': 'application/json', 'idempotency-key': `key-${kind}` }
    const body = JSON.stringify(chat(CANARY, { group: 'g', metadata: { user: 'u1' }, fair_key: CANARY }))
    const create = () => fetch(`${url}/v1/jobs`, { method: 'POST', headers: key, body })
    const { id } = (await (await create()).json()) as Job
    const done = await waitForJob(url, id)
    expect(done).toMatchObject({ status: 'completed', fair_key: CANARY })
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
    if (kind === 'SQLite') {
      const files = ['history.db', 'history.db-wal'].map((name) => readFileSync(join(folder, name), 'latin1'))
      expect(files.join('')).toContain(id)
      expect(files.join('')).not.toContain(CANARY)
    }
    // The key is valid for a day, and buys nothing twice.
    const again = await create()
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(((await again.json()) as Job).id).toBe(id)
    // An equal job shares a group with it.
    const { id: second } = await createJob(url, chat('hello 2', { group: 'g' }))
    await waitForJob(url, second)
    expect(await get(url, '/v1/groups/g')).toMatchObject({ total: 2, counts: { completed: 2 } })
    expect((await list('group=g')).data.map((job) => job.id)).toEqual([second, id])
    expect(await status(`/v1/jobs/${id}/cancel`, 'POST')).toBe(409)
    expect(await status(`/v1/jobs/${id}/retry`, 'POST')).toBe(409)
    const events = await (await fetch(`${url}/v1/jobs/${id}/events`)).text()
    expect(events).toContain('event: job.completed')
    // A late reader of all events still learns how it ended.
    const isEnough = (text: string) => text.split('event: job.completed').length > 2
    const told = await readUntil(`${url}/v1/events`, isEnough)
    const ends = told.split('\n').filter((line) => line.startsWith('data:') && line.includes(id))
    expect(ends.map((line) => JSON.parse(line.slice('data:'.length)).job?.id)).toEqual([id])
    expect(await status(`/v1/jobs/${id}`, 'DELETE')).toBe(200)
    expect(await status(`/v1/jobs/${id}`)).toBe(404)
    expect(await get(url, '/v1/groups/g')).toMatchObject({ total: 1 })
    expect(((await (await create()).json()) as Job).id).not.toBe(id)
  }, 60_000)

  // The contract of the databases holds the rest for SQLite.
  test.runIf(kind === 'PostgreSQL')(
    'are one list with those that are not, page after page',
    async () => {
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
    },
    60_000,
  )

  test.runIf(kind === 'PostgreSQL')(
    'go on when they are queued again',
    async () => {
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
      // Those that fail again at once are queued again once.
      const fails = (at: number) => chat(`${at} [[fault:400]]`, { group: 'fails', max_attempts: 1 })
      const failed = await createBulk(
        url,
        Array.from({ length: 12 }, (_, at) => fails(at)),
      )
      await Promise.all(failed.map((one) => waitForJob(url, one)))
      await moved(...failed)
      const retried = await post(url, '/v1/jobs/retry', { group: 'fails' })
      expect(await retried.json()).toMatchObject({ matched: 12, retried: 12 })
    },
    60_000,
  )

  test('are found by the same filters, and summed up', async () => {
    const lines = Array.from({ length: 6 }, (_, at) =>
      chat(`search ${at}`, { group: 'search', metadata: { team: at % 2 ? 'red' : 'blue', n: String(at) } }),
    )
    const ids = await createBulk(url, lines.slice(0, 4))
    await Promise.all(ids.map((id) => waitForJob(url, id)))
    await moved(...ids)
    ids.push(...(await createBulk(url, lines.slice(4))))
    await Promise.all(ids.map((id) => waitForJob(url, id)))
    const found = async (query: string) => (await list(query)).data.map(({ id }) => id).sort()
    const of = (...places: number[]) => places.map((at) => ids[at]!).sort()
    expect(await found('metadata.team=red')).toEqual(of(1, 3, 5))
    expect(await found('metadata.team=blue&metadata.n=4')).toEqual(of(4))
    const third = encodeURIComponent((await getJob(url, ids[2]!)).created_at)
    expect(await found(`group=search&created_before=${third}`)).not.toContain(ids[2])
    expect(await found(`group=search&created_after=${third}`)).toContain(ids[5])
    expect(await found('group=search&min_cost_usd=1000')).toEqual([])
    expect(await found('group=search&model=sim/chat')).toEqual(of(0, 1, 2, 3, 4, 5))
    expect(await found('error_code=none')).toEqual([])
    for (const query of [
      ...['metadata.=1', 'metadata.a=1&metadata.a=2', 'created_after=x', 'min_cost_usd=-1', 'x=1'],
    ])
      expect(await status(`/v1/jobs?${query}`), query).toBe(400)

    const all = (await list('limit=1000')).data
    const cost = all.reduce((sum, job) => sum + (job.cost_usd ?? 0), 0)
    type Usage = { data: { jobs: number; cost_usd: number; fair_key?: string | null }[] }
    const usage = (query: string) => get<Usage>(url, `/v1/usage?${query}`)
    await expect
      .poll(async () => (await usage('by=tenant')).data[0]?.jobs ?? 0, { timeout: 10_000 })
      // A deleted job was paid for all the same.
      .toBeGreaterThanOrEqual(all.length)
    expect((await usage('by=tenant')).data[0]!.cost_usd).toBeGreaterThan(cost * 0.99)
    expect((await usage('by=model,tier')).data).toMatchObject([
      // Those that failed twice above count once.
      { object: 'usage', model: 'sim/chat', tier: 'standard', failed: kind === 'PostgreSQL' ? 12 : 0 },
    ])
    expect((await usage('by=fair_key')).data.map((one) => one.fair_key)).toContain(CANARY)
    // The most expensive alone; here the other of the two cost less, or nothing.
    const top = await get<Usage & { rest: { entries: number; jobs: number } | null }>(
      url,
      '/v1/usage?by=fair_key&top=1',
    )
    const whole = (await usage('by=fair_key')).data.reduce((sum, { jobs }) => sum + jobs, 0)
    expect([top.data.length, top.rest?.entries, top.data[0]!.jobs + top.rest!.jobs]).toEqual([1, 1, whole])
    const table = await fetch(`${url}/v1/usage`, { headers: { accept: 'text/csv' } })
    expect(table.headers.get('content-type')).toContain('text/csv')
    expect((await table.text()).split('\r\n')[0]).toMatch(/^day,jobs,failed,calls,input_tokens,/)
    const short = await fetch(`${url}/v1/usage?by=fair_key&top=1`, { headers: { accept: 'text/csv' } })
    expect((await short.text()).split('\r\n')[2]).toMatch(/^\(rest\),\d/)
    for (const query of [
      'by=x',
      'top=0',
      'by=day,day',
      'from=x',
      'from=2026-02-30',
      'from=2030-01-01&to=2029-01-01',
    ])
      expect(await status(`/v1/usage?${query}`), query).toBe(400)
    const env = { SLUICE_URL: url }
    const shown = await callCli(['usage', '--by', 'tenant,model'], { env })
    expect(shown.stdout).toMatch(/TENANT +MODEL +JOBS.*\n *default +sim\/chat/)
    const first = await callCli(['usage', '--by', 'fair_key', '--top', '1'], { env })
    expect(first.stdout).toMatch(/FAIR KEY +JOBS.*\n.*\n *1 more +\d/)
    const listed = await callCli(['jobs', 'list', '--metadata', 'team=red', '--json'], { env })
    expect(listed.stdout.trim().split('\n')).toHaveLength(3)
  }, 60_000)

  test.runIf(kind === 'PostgreSQL')(
    'wait where the database takes no more, which every process says',
    async () => {
      const server = new pg.Client({ connectionString: `${postgres.url}/postgres` })
      await server.connect()
      const begin = async (setting: string) => {
        await server.query(`alter database jobs ${setting}`)
        await server.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'jobs'")
      }
      const ready = () => get<Record<string, string>>(url, '/readyz')
      const soon = { timeout: 20_000, interval: 50 }
      await begin('set default_transaction_read_only = on')
      const { id } = await createJob(url, chat('to a full disk'))
      await waitForJob(url, id)
      const writes = { history: 'unavailable', history_fails: 'writes' }
      await expect.poll(ready, soon).toMatchObject(writes)
      const shown = { status: 'unavailable', fails: 'writes', error: expect.stringContaining('read-only') }
      await expect.poll(() => get(url, '/v1/overview'), soon).toMatchObject({ history: shown })
      const health = await callCli(['health'], { env: { SLUICE_URL: url } })
      expect([health.code, health.stdout]).toEqual([1, expect.stringContaining('accepts no finished jobs')])
      await expect.poll(() => status('/v1/jobs'), soon).toBe(200)
      await begin('reset default_transaction_read_only')
      await server.end()
      await moved(id)
      await expect.poll(ready, soon).toMatchObject({ history: 'available' })
    },
    60_000,
  )

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
      expect(await refused.json()).toMatchObject({
        error: { message: expect.stringMatching(/^the history of finished jobs is not available/) },
      })
      const everything = { status: 'ok', history: 'unavailable', history_fails: 'everything' }
      expect(await get(url, '/readyz')).toMatchObject(everything)
      const shown = { status: 'unavailable', fails: 'everything', error: expect.any(String) }
      expect(await get(url, '/v1/overview')).toMatchObject({ history: shown })
      const health = await callCli(['health'], { env: { SLUICE_URL: url } })
      expect([health.code, health.stdout]).toEqual([1, expect.stringContaining('does not answer')])
      expect(await status(`/v1/jobs/${ids[0]}`, 'DELETE')).toBe(200)
      expect(await status(`/v1/jobs/${ids[0]}`)).toBe(503)
      await postgres.start()
      await moved(...ids)
      expect(await status(`/v1/jobs/${ids[0]}`)).toBe(404)
      expect(await get(url, '/v1/groups/away')).toMatchObject({ total: 29, counts: { completed: 29 } })
      for (const id of [old.id, ...ids.slice(1)]) expect((await getJob(url, id)).result).not.toBeNull()
      expect(await get(url, '/readyz')).toMatchObject({ history: 'available' })
      // Once for each of the two processes, not once a job.
      const count = (text: string) => stack.output().split(text).length - 1
      expect(count('the history is not available')).toBeLessThanOrEqual(2)
      expect(count('the history is available again')).toBe(count('the history is not available'))
    },
    60_000,
  )
})
