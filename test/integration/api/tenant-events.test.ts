import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { acmeKey, chatJob, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'
import { type ReadEvent, type ReadStream, readStream } from '../../helpers/event-stream.ts'
import { testRedis } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'

/** Two API processes over one store; each test finds its own events by its group. */
let apis: TestApi[]
let urls: string[]
beforeAll(async () => {
  const place = testRedis()
  apis = [1, 2].map(() => undefined as unknown as TestApi)
  apis = await Promise.all(
    apis.map(() => createTestApi({ place, tenants: testTenants, limits: { heartbeat: 50 } })),
  )
  urls = await Promise.all(apis.map((api) => api.listen()))
})
afterAll(() => Promise.all(apis.map((api) => api.close())))

let count = 0
async function create(members: Record<string, unknown> = {}, key = acmeKey, text = `text ${++count}`) {
  const payload = chatJob(members, text)
  const headers = { authorization: `Bearer ${key}` }
  const answer = await apis[0]!.app.inject({ method: 'POST', url: '/v1/jobs', headers, payload })
  if (answer.statusCode >= 300) throw new Error(answer.body)
  return answer.json().id as string
}

async function open(
  query = '',
  { cursor, at = 0, key = acmeKey }: { cursor?: string; at?: number; key?: string } = {},
) {
  const stream = await readStream(`${urls[at]}/v1/events${query}`, {
    headers: { authorization: `Bearer ${key}` },
    ...(cursor === undefined ? {} : { cursor }),
  })
  onTestFinished(() => stream.close())
  return stream
}

const isOf =
  ({ id }: { id: string }) =>
  ({ data }: ReadEvent) =>
    data.job_id === id
const short = ({ type, data }: ReadEvent) => `${data.job_id} ${data.seq} ${type}`
const told = (id: string, ...names: string[]) => names.map((name, at) => `${id} ${at + 1} job.${name}`)

async function takeOf(stream: ReadStream, ids: string[], most: number) {
  const found: ReadEvent[] = []
  while (found.length < most) {
    const event = await stream.next()
    if (event === null) throw new Error('the stream ended')
    if (ids.includes(event.data.job_id)) found.push(event)
  }
  return found
}

describe('the events of a tenant', () => {
  it('come from the first that is kept, then live, in order, with the whole job at its end', async () => {
    const first = await create()
    const worker = apis[0]!.worker
    await worker.finish(first, { result: { text: 'a' } })
    const stream = await open()
    expect(stream.response.headers.get('content-type')).toMatch(/^text\/event-stream/)
    const before = await takeOf(stream, [first], 3)
    expect(before.map(short)).toEqual(told(first, 'queued', 'started', 'completed'))
    expect(before[2]!.data).toMatchObject({ job: { id: first, result: { text: 'a' } } })
    const second = await create()
    await worker.finishFailed(second)
    const live = await stream.take(3)
    expect(live.map(short)).toEqual(told(second, 'queued', 'started', 'failed'))
    expect(live[2]!.data).toMatchObject({ job: { status: 'failed', error: { code: 'boom' } } })
  })

  it('go on behind any of them, on another process, without a gap and without duplicates', async () => {
    const group = 'go-on'
    const ids = await Promise.all([1, 2, 3].map(() => create({ group })))
    for (const id of ids) await apis[0]!.worker.finish(id)
    const all = await (await open(`?group=${group}`)).take(9)
    expect(new Set(all.map(({ id }) => id)).size).toBe(9)
    for (const [at, event] of all.slice(0, -1).entries()) {
      const rest = await (await open(`?group=${group}`, { cursor: event.id, at: 1 })).take(8 - at)
      expect(rest).toEqual(all.slice(at + 1))
    }
  })

  it('are sent one by one when several happen in one step', async () => {
    const group = 'together'
    const leader = await create({ group }, acmeKey, 'the same')
    const followers = await Promise.all(
      Array.from({ length: 25 }, () => create({ group }, acmeKey, 'the same')),
    )
    await apis[0]!.worker.finish(leader)
    const hit = await create({ group }, acmeKey, 'the same')
    const all = await (await open(`?group=${group}`)).take(26 + 1 + 26 + 2)
    expect(all.slice(-2).map(short)).toEqual(told(hit, 'queued', 'completed'))
    expect(
      all
        .filter(({ type }) => type === 'job.completed')
        .map(({ data }) => data.job_id)
        .sort(),
    ).toEqual([leader, hit, ...followers].sort())
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    for (const at of [26, 27, 30, 36, 37, 38, 50, 53]) {
      const rest = await (await open(`?group=${group}`, { cursor: all[at]!.id })).take(all.length - at - 1)
      expect(rest.map(short)).toEqual(all.slice(at + 1).map(short))
    }
  })

  it('are those of the tenant alone', async () => {
    const theirs = await create({}, otherKey)
    const stream = await open('', { key: otherKey })
    expect((await stream.take(1)).map(short)).toEqual(told(theirs, 'queued'))
    const ours = await create()
    const another = await create({}, otherKey)
    expect((await stream.take(1)).map(short)).toEqual(told(another, 'queued'))
    expect(stream.text()).not.toContain(ours)
  })

  it('begin with the next event on request, and say at once where to go on from', async () => {
    const before = await create()
    const stream = await open('?last_event_id=now')
    const cursor = () => {
      return /^id: (.+)\n\n/m.exec(stream.text())?.[1]
    }
    const after = await create()
    expect((await stream.take(1)).map(short)).toEqual(told(after, 'queued'))
    expect(stream.text()).not.toContain(before)
    const again = await open('', { cursor: (await cursor())! })
    expect((await again.take(1)).map(short)).toEqual(told(after, 'queued'))
  })

  it('leave out those of a deleted job', async () => {
    const [gone, kept] = [await create(), await create()]
    const { app } = apis[0]!
    await app.inject({
      method: 'DELETE',
      url: `/v1/jobs/${gone}`,
      headers: { authorization: `Bearer ${acmeKey}` },
    })
    const stream = await open()
    await stream.until(({ data }) => data.job_id === kept)
    expect(stream.text()).not.toContain(gone)
  })
})

describe('the filters', () => {
  it('of type, group, lane and event let through what they name', async () => {
    const group = 'filters'
    const chat = await create({ group })
    const embedding = await create({
      group,
      type: 'embedding',
      body: { model: 'openai/embed', input: `text ${++count}` },
    })
    const alone = await create()
    await apis[0]!.worker.finish(chat)
    const first = async (query: string) =>
      (await (await open(query)).until(({ data }) => [chat, embedding, alone].includes(data.job_id))).at(-1)!
    expect((await first('?type=embedding')).data.job_id).toBe(embedding)
    expect((await first('?lane=openai%2Fembed')).data.job_id).toBe(embedding)
    expect((await first(`?group=${group}`)).data.job_id).toBe(chat)
    expect(short(await first(`?group=${group}&event=job.completed`))).toBe(`${chat} 3 job.completed`)
    const both = await open(`?group=${group}&event=job.completed,job.started`)
    expect((await both.take(2)).map(short)).toEqual([`${chat} 2 job.started`, `${chat} 3 job.completed`])
    expect(short(await first(`?group=${group}&type=embedding&lane=openai%2Fembed&event=job.queued`))).toBe(
      `${embedding} 1 job.queued`,
    )
  })

  it('of a durable run lets through the jobs of its steps alone', async () => {
    const [run, other] = ['report/1 of today', 'report/1']
    const begin = async (id: string, step: string) => {
      const answer = await apis[0]!.app.inject({
        method: 'PUT',
        url: `/v1/durable/${encodeURIComponent(id)}/steps/${encodeURIComponent(step)}`,
        headers: { authorization: `Bearer ${acmeKey}` },
        payload: { job: chatJob({ cache: 'off' }, `text ${++count}`) },
      })
      return answer.json().job.id as string
    }
    const stream = await open(`?durable=${encodeURIComponent(run)}`)
    const ids: string[] = []
    for (const [id, step] of [
      [run, 'one step'],
      [other, 'one step'],
      [run, other],
    ] as const) {
      const job = await begin(id, step)
      await apis[0]!.worker.finish(job)
      if (id === run) ids.push(job)
    }
    const events = ids.flatMap((id) => told(id, 'queued', 'started', 'completed'))
    expect((await stream.take(events.length)).map(short)).toEqual(events)
  })

  it('that let nothing through for long still say where to go on from', async () => {
    const stream = await open('?group=nobody')
    const reading = stream.next()
    const id = await create()
    const marks = () => stream.text().match(/^id: .+\n\n/gm) ?? []
    await until(async () => marks().length > 0)
    await apis[0]!.worker.finish(id)
    const [end] = (await (await open('?event=job.completed')).until(isOf({ id }))).slice(-1)
    // Marks may come between the events of the job: the one behind its last is awaited.
    const cursor = end!.id
    await until(async () => marks().at(-1) === `id: ${cursor}\n\n`)
    stream.close()
    await expect(reading).rejects.toThrow()
    const last = await create()
    expect((await (await open('', { cursor })).take(1)).map(short)).toEqual(told(last, 'queued'))
  })

  it.each([
    ['?type=picture', 'query.type'],
    ['?group=a%20b', 'query.group'],
    ['?flow=job_1', 'query.flow'],
    ['?durable=', 'query.durable'],
    ['?event=job.finished', 'query.event'],
    ['?event=', 'query.event'],
    ['?event=job.delta', 'query.event'],
    ['?deltas=1', 'query.deltas'],
    ['?lane=', 'query.lane'],
    ['?group=a&group=b', 'query.group'],
    ['?groups=a', 'query.groups'],
    ['?last_event_id=yesterday', 'Last-Event-ID'],
    ['?last_event_id=99999999999999-0', 'Last-Event-ID'],
    ['?last_event_id=1-2~3-4~5', 'Last-Event-ID'],
    [`?last_event_id=${'1'.repeat(400)}`, 'Last-Event-ID'],
  ])('%s is refused by its name', async (query, param) => {
    const { response } = await open(query)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_request', param } })
  })
})

describe('chunks of streams', () => {
  it('come where they are requested, in their places, live, and behind any cursor', async () => {
    const group = 'chunks'
    const members = { group, body: { model: 'openai/small', stream: true, messages: [] } }
    const { worker } = apis[0]!
    const live = await open(`?deltas=true&group=${group}`)
    const plain = await open(`?group=${group}`)
    const running = await Promise.all(
      (
        await Promise.all(
          [1, 2].map((at) =>
            create({
              ...members,
              // A retry of this test must not find the answers of the first try.
              body: { ...members.body, messages: [{ role: 'user', content: `${at} of ${randomUUID()}` }] },
            }),
          ),
        )
      ).map((id) => worker.start(id)),
    )
    for (let at = 0; at < 4; at++) {
      for (const one of running)
        await worker.stream(one, [
          { at, half: 1 },
          { at, half: 2 },
        ])
    }
    for (const one of running) await worker.complete(one)
    const all = await live.take(2 * 11)
    expect((await plain.take(6)).map(({ type }) => type)).not.toContain('job.delta')
    for (const { held } of running) {
      const own = all.filter(isOf(held))
      expect(own.map(({ data }) => data.seq)).toEqual(Array.from({ length: 11 }, (_, at) => at + 1))
      expect(own.slice(2, 4).map(({ data }) => data.chunk)).toEqual([
        { at: 0, half: 1 },
        { at: 0, half: 2 },
      ])
    }
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    for (const at of [0, 3, 4, 5, 9, 16, 20]) {
      const rest = await open(`?deltas=true&group=${group}`, { cursor: all[at]!.id, at: 1 })
      const seen = await rest.take(all.length - at - 1)
      // Each job's events in their order. Events of two jobs within one millisecond have no order.
      for (const { held } of running)
        expect(seen.filter(isOf(held)).map(short)).toEqual(
          all
            .slice(at + 1)
            .filter(isOf(held))
            .map(short),
        )
    }
    // A cursor of one form is one of the other.
    const ends = await open(`?group=${group}`, { cursor: all[10]!.id })
    expect((await ends.take(2)).map(({ type }) => type)).toEqual(['job.completed', 'job.completed'])
  })
})

describe('the events that are kept', () => {
  it('are no more behind a cursor that is older, and 410 says so', async () => {
    const id = await create({ group: 'old' })
    const stream = await open('?group=old')
    const [event] = await stream.take(1)
    await apis[0]!.worker.finish(id)
    const [second] = await stream.take(2)
    const { redis } = apis[0]!
    const key = `${apis[0]!.root('acme')}:events`
    await redis.xtrim(key, 'MINID', second!.id)
    for (const at of [0, 1]) {
      const { response } = await open('', { cursor: event!.id, at })
      expect([response.status, response.headers.get('x-should-retry')]).toEqual([410, 'false'])
      expect(await response.json()).toMatchObject({
        error: { code: 'events_expired', param: 'Last-Event-ID' },
      })
    }
    expect((await open('?last_event_id=0')).response.status).toBe(410)
    // The first kept event is a cursor, and a client without one begins there.
    expect((await (await open('', { cursor: second!.id })).take(1)).map(short)).toEqual([
      `${id} 3 job.completed`,
    ])
    expect((await (await open('?group=old')).take(1)).map(short)).toEqual([`${id} 2 job.started`])
  })

  it('are at least 100,000 references of a tenant, and not many more', async () => {
    const root = apis[0]!.root('ops')
    const { redis } = apis[0]!
    const fill = `for i = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'job_x', i .. ' job.queued') end`
    await redis.eval(fill, 1, `${root}:events`)
    const headers = { authorization: 'Bearer ops-key-0123456789' }
    const payload = Array.from({ length: 150 }, (_, at) => chatJob({}, `ops ${at}`))
    await apis[0]!.app.inject({ method: 'POST', url: '/v1/jobs/bulk', headers, payload })
    const kept = await redis.xlen(`${root}:events`)
    expect(kept).toBeGreaterThanOrEqual(100_000)
    expect(kept).toBeLessThan(100_150)
  })
})
