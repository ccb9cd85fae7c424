import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { acmeKey, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'

let api: TestApi
beforeEach(async () => {
  api = await createTestApi({ tenants: testTenants })
})
afterEach(() => api.close())

type Answer = { cancelled: number; matched: number; dry_run: boolean; failed?: number }

const post = async (url: string, payload: object | string, key = acmeKey) => {
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': typeof payload === 'string' ? 'application/x-ndjson' : 'application/json',
  }
  return await api.app.inject({ method: 'POST', url, headers, payload })
}
const cancel = async (filter: object, key = acmeKey): Promise<Answer> => {
  const response = await post('/v1/jobs/cancel', filter, key)
  expect(response.statusCode, response.body).toBe(200)
  return response.json()
}
const jobs = async (query = ''): Promise<Job[]> => {
  const headers = { authorization: `Bearer ${acmeKey}` }
  return (await api.app.inject({ url: `/v1/jobs?limit=1000${query}`, headers })).json().data
}

/** Jobs with these members, each with a text of its own unless one is given. */
async function submit(count: number, members: object = {}, text?: string): Promise<string[]> {
  const lines = Array.from({ length: count }, (_, number) => {
    const content = text ?? `${JSON.stringify(members)} ${number}`
    const body = { model: 'openai/small', messages: [{ role: 'user', content }] }
    return JSON.stringify({ type: 'chat', body, ...members })
  })
  const response = await post('/v1/jobs/bulk', lines.join('\n'))
  return response.body
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).id as string)
}

describe('POST /v1/jobs/cancel', () => {
  const later = { run_at: '2099-01-01T00:00:00Z' }
  const embed = { type: 'embedding', body: { model: 'openai/embed', input: 'some text' } }

  // The jobs that each filter names: `a` 3 queued, 1 of them running; `b` 2 queued; `b` 2 scheduled; 1 embedding
  // without a group.
  it.each([
    [{}, 8],
    [{ group: 'a' }, 3],
    [{ group: 'b' }, 4],
    [{ group: 'b', status: 'scheduled' }, 2],
    [{ status: 'running' }, 1],
    [{ status: 'queued' }, 5],
    [{ type: 'embedding' }, 1],
    [{ lane: 'openai/small' }, 7],
    [{ lane: 'openai/small', group: 'a' }, 3],
    [{ provider: 'openai' }, 8],
    [{ provider: 'open' }, 0],
    [{ created_after: '2020-01-01T00:00:00Z' }, 8],
    [{ created_before: '2020-01-01T00:00:00Z' }, 0],
    [{ created_after: '2098-01-01T00:00:00Z', group: 'a' }, 0],
    [{ group: 'none' }, 0],
    [{ limit: 5 }, 5],
    [{ group: 'b', limit: 1 }, 1],
  ])('of %j cancels exactly these, and a dry run only counts them', async (filter, count) => {
    const [first] = await submit(3, { group: 'a' })
    await api.worker.start(first!)
    await submit(2, { group: 'b' })
    await submit(2, { group: 'b', ...later })
    await submit(1, embed)
    expect(await cancel({ ...filter, dry_run: true })).toEqual({
      cancelled: 0,
      matched: count,
      dry_run: true,
    })
    expect(await jobs('&status=cancelled')).toEqual([])
    expect(await cancel(filter, otherKey)).toMatchObject({ cancelled: 0, matched: 0 })
    expect(await cancel(filter)).toEqual({ cancelled: count, matched: count, dry_run: false })
    const cancelled = await jobs('&status=cancelled')
    expect(cancelled).toHaveLength(count)
    for (const job of cancelled) {
      if ('group' in filter) expect(job.group).toBe(filter.group)
      if ('lane' in filter) expect(job.lane).toBe(filter.lane)
      if ('type' in filter) expect(job.type).toBe(filter.type)
    }
    // Again: the named jobs have ended.
    if (!('limit' in filter)) expect(await cancel(filter)).toMatchObject({ cancelled: 0, matched: 0 })
  })

  it('leaves no entry, promotes no equal job for nothing, and keeps those that were not meant', async () => {
    const equal = await submit(250, { group: 'wrong' }, 'the same')
    await submit(260, { group: 'wrong' })
    const [kept] = await submit(1, { group: 'right' }, 'the same')
    expect(await cancel({ group: 'wrong' })).toEqual({ cancelled: 510, matched: 510, dry_run: false })
    // The equal job of another group leads now, and it alone is in the queue.
    const running = await api.worker.next()
    expect(running.claimed.id).toBe(kept)
    await api.worker.complete(running)
    const [job] = await jobs('&status=completed')
    expect(job).toMatchObject({ id: kept, cache: 'miss' })
    expect(equal).not.toContain(kept)
    const lane = await api.deps.lanes.get('openai/small')
    expect(lane!.backlog).toEqual({ waiting: 0, delayed: 0, held: 0 })
    expect(await api.redis.zcard(`${api.root('acme')}:outbox`)).toBe(0)
    const group = await api.deps.store.jobs.group('acme', 'wrong')
    expect(group!.counts).toMatchObject({ queued: 0, running: 0, cancelled: 510 })
    // Each has its event, once.
    const id = equal[7]!
    const events = await api.redis.lrange(`${api.root('acme')}:job:${id}:events`, 0, -1)
    expect(events.filter((text) => text.includes('job.cancelled'))).toHaveLength(1)
  })

  it.each([
    [{ status: 'completed' }, 'status'],
    [{ limit: 0 }, 'limit'],
    [{ groups: 'a' }, 'groups'],
    [{ created_after: 'yesterday' }, 'created_after'],
    [{ schedule: 'nightly' }, 'schedule'],
  ])('refuses %j and names the member', async (filter, param) => {
    const response = await post('/v1/jobs/cancel', filter)
    expect(response.statusCode).toBe(400)
    expect(response.json().error.message).toContain(param)
  })
})

it('lanes of a provider are paused and resumed together', async () => {
  const ops = 'ops-key-0123456789'
  const paused = (
    await post('/v1/lanes/pause', { provider: 'openai', for_ms: 60_000, reason: 'outage' }, ops)
  ).json()
  expect(paused.data.map((lane: { id: string }) => lane.id)).toEqual(['openai/embed', 'openai/small'])
  for (const lane of paused.data) expect(lane).toMatchObject({ paused_reason: 'outage' })
  expect((await post('/v1/lanes/pause', { provider: 'openai' })).statusCode).toBe(403)
  expect((await post('/v1/lanes/pause', { provider: 'none' }, ops)).statusCode).toBe(404)
  expect((await post('/v1/lanes/pause', {}, ops)).json().error.message).toContain('provider')
  const both = { provider: 'openai', lanes: ['openai/small'] }
  expect((await post('/v1/lanes/pause', both, ops)).json().error.message).toContain('either')
  const resumed = (await post('/v1/lanes/resume', { provider: 'openai' }, ops)).json()
  for (const lane of resumed.data) expect(lane).toMatchObject({ paused_until: null })
})

it('some lanes are paused and resumed together, and none if one of them is unknown', async () => {
  const ops = 'ops-key-0123456789'
  const pausedOf = ({ data }: { data: { id: string; paused_reason: string | null }[] }) =>
    data.map(({ id, paused_reason }) => [id, paused_reason])
  const wrong = await post('/v1/lanes/pause', { lanes: ['openai/small', 'none/x', 'none/y'] }, ops)
  expect([wrong.statusCode, wrong.json().error]).toMatchObject([
    404,
    { param: 'lanes', message: 'lanes: no such lane: none/x, none/y' },
  ])
  const body = { lanes: ['openai/small', 'openai/small'], reason: 'outage' }
  expect(pausedOf((await post('/v1/lanes/pause', body, ops)).json())).toEqual([['openai/small', 'outage']])
  const resumed = (await post('/v1/lanes/resume', { lanes: ['openai/small', 'openai/embed'] }, ops)).json()
  expect(pausedOf(resumed)).toEqual([
    ['openai/small', null],
    ['openai/embed', null],
  ])
})
