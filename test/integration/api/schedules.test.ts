import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { acmeKey, otherKey, testTenants } from '../../helpers/api.ts'
import { keysOf } from '../../helpers/redis.ts'
import { chatJob, type Json, openScheduleHouse, type ScheduleHouse } from '../schedules/fixture.ts'

const HOUR = 3_600_000

let house: ScheduleHouse
beforeAll(async () => {
  house = await openScheduleHouse({ tenants: testTenants })
})
afterAll(() => house.close())

const call: ScheduleHouse['call'] = (method, url, options) =>
  house.call(method, url, { key: acmeKey, ...options })
const create = (members: object, headers: Record<string, string> = {}) =>
  call('POST', '/v1/schedules', { body: { name: 'a', every: '1h', job: chatJob, ...members }, headers })
const make = async (members: object = {}) => {
  const { status, body } = await create(members)
  if (status !== 201) throw new Error(JSON.stringify(body))
  return body
}

const flowOf = (model: string) => ({
  name: 'f',
  steps: { a: { job: { type: 'chat', body: { ...chatJob.body, model } } } },
})

describe('a new schedule', () => {
  it('is answered with every member, the defaults among them', async () => {
    const answer = await create({ every: null, cron: '0 3 * * *' })
    expect(answer.status).toBe(201)
    const { body } = answer
    expect(answer.headers.location).toBe(`/v1/schedules/${body.id}`)
    expect(body).toEqual({
      id: expect.stringMatching(/^sch_\w+$/),
      object: 'schedule',
      name: 'a',
      cron: '0 3 * * *',
      every: null,
      time_zone: 'UTC',
      job: chatJob,
      flow: null,
      overlap: 'allow',
      catch_up: 'latest',
      starts_at: null,
      ends_at: null,
      max_runs: null,
      paused: false,
      metadata: {},
      source: 'api',
      next_runs: body.next_runs,
      last_run: null,
      runs: 0,
      created_at: expect.stringMatching(/Z$/),
      updated_at: body.created_at,
    })
    expect(body.next_runs).toHaveLength(5)
    for (const time of body.next_runs) expect(time).toMatch(/T03:00:00\.000Z$/)
    expect((await call('GET', `/v1/schedules/${body.id}`)).body).toEqual(body)
  })

  it('keeps the text of its job, which no double holds', async () => {
    const text = `{"every":"1h","job":{"type":"chat","body":{"model":"fast","messages":[{"role":"user","content":"a"}],"seed":9007199254740993}}}`
    const reply = await house.app.inject({
      method: 'POST',
      url: '/v1/schedules',
      headers: { authorization: `Bearer ${acmeKey}`, 'content-type': 'application/json' },
      payload: text,
    })
    expect(reply.body).toContain('"seed":9007199254740993')
    const { id } = reply.json()
    const stored = await house.app.inject({
      method: 'GET',
      url: `/v1/schedules/${id}`,
      headers: { authorization: `Bearer ${acmeKey}` },
    })
    expect(stored.body).toContain('"seed":9007199254740993')
    const { body: job } = await call('POST', `/v1/schedules/${id}/run`)
    const request = await house.app.inject({
      method: 'GET',
      url: `/v1/jobs/${job.id}/request`,
      headers: { authorization: `Bearer ${acmeKey}` },
    })
    expect(request.body).toContain('"seed":9007199254740993')
  })

  it('counts an interval from its beginning, which is a slot itself', async () => {
    const startsAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 90_000).toISOString()
    const { next_runs: upcoming } = await make({ every: '90s', starts_at: startsAt })
    expect(upcoming.map(Date.parse)).toEqual([0, 1, 2, 3, 4].map((n) => Date.parse(startsAt) + n * 90_000))
    const past = new Date(Date.now() - 2.5 * HOUR)
    const { next_runs: later } = await make({ every: '1h', starts_at: past.toISOString() })
    expect(Date.parse(later[0])).toBe(past.getTime() + 3 * HOUR)
    const { next_runs: last } = await make({ every: '366d', starts_at: '9999-12-30T00:00:00+02:00' })
    expect(last).toEqual(['9999-12-29T22:00:00.000Z'])
    const { next_runs: fresh, created_at: made } = await make({ every: '1h' })
    expect(Date.parse(fresh[0])).toBe(Date.parse(made) + HOUR)
  })

  it.each([
    ['cron', { every: null, cron: '61 * * * *' }, /cron: Invalid value for minute: 61/],
    ['cron', { every: null, cron: '* * * *' }, /five or six fields, got 4/],
    ['cron', { every: null, cron: '0 0 32 * *' }, /Invalid value for day: 32/],
    ['cron', { every: null, cron: '0 0 1 13 *' }, /Invalid value for month: 13/],
    ['cron', { every: null, cron: '0 0 30 2 *' }, /date that never comes/],
    ['cron', { every: null, cron: '@reboot' }, /@daily/],
    ['cron', { every: null }, /is required, or every/],
    ['every', { cron: '@daily' }, /either cron or every/],
    ['every', { every: '15 minutes' }, /duration/],
    ['every', { every: '10ms' }, /from 1s/],
    ['time_zone', { time_zone: 'Europe/Atlantis' }, /time zone/],
    ['overlap', { overlap: 'queue' }, /"allow", "skip" or "cancel_previous"/],
    ['catch_up', { catch_up: 'some' }, /"none", "latest" or "all"/],
    ['starts_at', { starts_at: 'tomorrow' }, /RFC 3339/],
    ['ends_at', { ends_at: '2026-01-01T00:00:00Z', starts_at: '2026-02-01T00:00:00Z' }, /before starts_at/],
    ['ends_at', { ends_at: '2026-01-01T00:00:00Z' }, /no slot/],
    ['starts_at', { starts_at: '9999-12-31T23:59:59-01:00' }, /RFC 3339/],
    ['ends_at', { ends_at: '0000-01-01T00:00:00+01:00' }, /RFC 3339/],
    [
      'starts_at',
      { every: null, cron: '0 0 1 1 *', starts_at: '9999-12-30T00:00:00Z' },
      /up to the year 9999/,
    ],
    ['max_runs', { max_runs: 0 }, /at least 1/],
    ['paused', { paused: 'yes' }, /boolean/],
    ['metadata.a', { metadata: { a: 1 } }, /string/],
    ['name', { name: '' }, /at least 1/],
    ['colour', { colour: 'red' }, /not a member/],
    ['job', { job: null }, /is required, or flow/],
    ['flow.name', { job: null, flow: { steps: {} } }, /is required/],
    ['flow.steps', { job: null, flow: { name: 'f', steps: {} } }, /at least one step/],
    [
      'flow.steps.a.job.body.model',
      { job: null, flow: flowOf('openai/none') },
      /flow\.steps\.a\.job\.body\.model/,
    ],
    [
      'flow.metadata.schedule',
      { job: null, flow: { ...flowOf('fast'), metadata: { schedule: 'x' } } },
      /set by/,
    ],
    ['flow', { flow: flowOf('fast') }, /either job or flow/],
    ['job.type', { job: { ...chatJob, type: 'poem' } }, /expected/],
    ['job.body.messages', { job: { type: 'chat', body: { model: 'fast' } } }, /job\.body\.messages/],
    [
      'job.body.model',
      { job: { type: 'chat', body: { ...chatJob.body, model: 'openai/none' } } },
      /^job\.body\.model: /,
    ],
    ['job.metadata.schedule', { job: { ...chatJob, metadata: { schedule: 'x' } } }, /set by the schedule/],
    [
      'job.body',
      { job: { type: 'chat', body: { ...chatJob.body, max_tokens: 100_000 } } },
      /^job\.body: needs/,
    ],
  ])('is refused for its %s', async (param, members, message) => {
    const before = await house.redis.zcard(`${house.root('acme')}:schedules`)
    const { status, body } = await create(members)
    expect(body.error).toMatchObject({ param, message: expect.stringMatching(message) })
    expect(status).toBe(
      body.error.code === 'model_not_found' ? 404 : body.error.code === 'exceeds_limit' ? 422 : 400,
    )
    expect(await house.redis.zcard(`${house.root('acme')}:schedules`)).toBe(before)
  })

  it('is made once for a key', async () => {
    const first = await create({}, { 'idempotency-key': 'k' })
    const again = await create({}, { 'idempotency-key': 'k' })
    expect([first.status, again.status]).toEqual([201, 200])
    expect(again.headers['idempotent-replayed']).toBe('true')
    expect(again.body.id).toBe(first.body.id)
    expect((await create({ every: '2h' }, { 'idempotency-key': 'k' })).body.error.code).toBe(
      'idempotency_key_reused',
    )
  })

  it('is refused behind the limit, which the error names', async () => {
    const known = await house.redis.zcard(`${house.root('acme')}:schedules`)
    house.config.jobs.max_schedules = known + 1
    const { id } = await make()
    const { status, body } = await create({})
    expect(status).toBe(422)
    expect(body.error).toMatchObject({
      code: 'too_many_schedules',
      message: expect.stringMatching(/limits\.max_schedules: \d+/),
    })
    await call('DELETE', `/v1/schedules/${id}`)
    expect((await create({})).status).toBe(201)
    house.config.jobs.max_schedules = 1000
  })
})

describe('local times', () => {
  it.each([
    [
      'Europe/Berlin',
      '30 2 * * *',
      '2027-03-27',
      ['2027-03-27T01:30', '2027-03-28T01:00', '2027-03-29T00:30'],
    ],
    [
      'Europe/Berlin',
      '30 2 * * *',
      '2027-10-30',
      ['2027-10-30T00:30', '2027-10-31T00:30', '2027-11-01T01:30'],
    ],
    [
      'America/New_York',
      '30 2 * * *',
      '2027-03-13',
      ['2027-03-13T07:30', '2027-03-14T07:00', '2027-03-15T06:30'],
    ],
    [
      'America/New_York',
      '30 1 * * *',
      '2027-11-06',
      ['2027-11-06T05:30', '2027-11-07T05:30', '2027-11-08T06:30'],
    ],
    [
      'Australia/Lord_Howe',
      '15 2 * * *',
      '2027-10-01',
      ['2027-10-01T15:45', '2027-10-02T15:30', '2027-10-03T15:15'],
    ],
    [
      'Australia/Lord_Howe',
      '45 1 * * *',
      '2027-04-02',
      ['2027-04-02T14:45', '2027-04-03T14:45', '2027-04-04T15:15'],
    ],
  ])('in %s of `%s` around %s come once', async (zone, cron, day, slots) => {
    const { next_runs: upcoming } = await make({
      every: null,
      cron,
      time_zone: zone,
      starts_at: `${day}T00:00:00Z`,
    })
    expect(upcoming.slice(0, 3)).toEqual(slots.map((slot) => `${slot}:00.000Z`))
  })
})

describe('a change', () => {
  it('takes effect from the next slot, and leaves the rest unchanged', async () => {
    const schedule = await make({ metadata: { a: 'b' }, max_runs: 9 })
    const { status, body } = await call('PATCH', `/v1/schedules/${schedule.id}`, {
      body: { cron: '@daily', time_zone: 'Europe/Berlin', max_runs: null },
    })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      cron: '@daily',
      every: null,
      metadata: { a: 'b' },
      max_runs: null,
      job: chatJob,
    })
    expect(body.next_runs[0]).not.toBe(schedule.next_runs[0])
    expect(body.updated_at >= schedule.updated_at).toBe(true)
    const renamed = await call('PATCH', `/v1/schedules/${schedule.id}`, { body: { name: 'b' } })
    expect(renamed.body).toEqual({ ...body, name: 'b', updated_at: renamed.body.updated_at })
  })

  it('pauses, and its next times are still shown', async () => {
    const { id } = await make()
    const { body } = await call('PATCH', `/v1/schedules/${id}`, { body: { paused: true } })
    expect(body).toMatchObject({ paused: true })
    expect(body.next_runs).toHaveLength(5)
  })

  it('checks the new members, not the old ones', async () => {
    const { id } = await make()
    const job = { type: 'chat', body: { model: 'nobody/none', messages: chatJob.body.messages } }
    const refused = await call('PATCH', `/v1/schedules/${id}`, { body: { job } })
    expect(refused.body.error).toMatchObject({ code: 'model_not_found', param: 'job.body.model' })
    const { routes } = house.config
    house.config.routes = {}
    expect((await call('PATCH', `/v1/schedules/${id}`, { body: { paused: true } })).status).toBe(200)
    house.config.routes = routes
  })

  it('that conflicts with others is not lost', async () => {
    const { id } = await make()
    const changes = [{ name: 'b' }, { overlap: 'skip' }, { metadata: { c: 'd' } }, { catch_up: 'all' }]
    const answers = await Promise.all(changes.map((body) => call('PATCH', `/v1/schedules/${id}`, { body })))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    const { body } = await call('GET', `/v1/schedules/${id}`)
    expect(body).toMatchObject(Object.assign({}, ...changes))
  })
})

describe('a run on request', () => {
  it('makes a flow where the schedule makes flows', async () => {
    const { id, flow, job } = await make({ job: null, flow: flowOf('fast') })
    expect({ flow, job }).toEqual({ flow: flowOf('fast'), job: null })
    const { status, headers, body } = await call('POST', `/v1/schedules/${id}/run`)
    expect(status).toBe(202)
    expect(headers.location).toBe(`/v1/flows/${body.id}`)
    expect(body).toMatchObject({ object: 'flow', name: 'f', metadata: { schedule: id } })
    expect((await call('GET', `/v1/schedules/${id}`)).body).toMatchObject({
      runs: 1,
      last_run: { flow_id: body.id, job_id: null },
    })
    const changed = await call('PATCH', `/v1/schedules/${id}`, { body: { job: chatJob } })
    expect(changed.body).toMatchObject({ flow: null, job: chatJob })
  })

  it('makes a job now, beside the slots', async () => {
    const { id, next_runs: upcoming } = await make({ paused: true, max_runs: 1 })
    const { status, headers, body: job } = await call('POST', `/v1/schedules/${id}/run`)
    expect(status).toBe(202)
    expect(headers.location).toBe(`/v1/jobs/${job.id}`)
    expect(job.metadata.schedule).toBe(id)
    const { body } = await call('GET', `/v1/schedules/${id}`)
    expect(body).toMatchObject({ runs: 1, last_run: { outcome: 'created', job_id: job.id } })
    expect(body.next_runs).toHaveLength(upcoming.length)
    expect((await call('GET', `/v1/schedules/${id}/runs`)).body.data).toMatchObject([
      { id: 'run_1', trigger: 'manual', job_id: job.id, scheduled_for: job.metadata.scheduled_for },
    ])
    expect((await call('GET', `/v1/jobs?schedule=${id}`)).body.data).toMatchObject([{ id: job.id }])
  })

  it('is made once for a key', async () => {
    const { id } = await make()
    const headers = { 'idempotency-key': 'k' }
    const first = await call('POST', `/v1/schedules/${id}/run`, { headers })
    const again = await call('POST', `/v1/schedules/${id}/run`, { headers })
    expect([first.status, again.status]).toEqual([202, 202])
    expect(again.body.id).toBe(first.body.id)
    expect((await call('GET', `/v1/schedules/${id}/runs`)).body.data).toHaveLength(1)
  })
})

it('lists go on behind any entry, also behind one that was deleted', async () => {
  const call: ScheduleHouse['call'] = (method, url) => house.call(method, url, { key: otherKey })
  const make = () => house.make({}, { key: otherKey })
  const ids: string[] = []
  for (let index = 0; index < 5; index++) ids.unshift((await make()).id)
  const page = async (query: string) => (await call('GET', `/v1/schedules?${query}`)).body
  const first = await page('limit=2')
  expect(first).toMatchObject({ has_more: true, first_id: ids[0], last_id: ids[1] })
  await call('DELETE', `/v1/schedules/${ids[1]}`)
  const second = await page(`limit=2&after=${ids[1]}`)
  expect(second.data.map(({ id }: { id: string }) => id)).toEqual([ids[2], ids[3]])
  expect(await page(`after=${ids[3]}`)).toMatchObject({ has_more: false, first_id: ids[4], last_id: ids[4] })

  for (let index = 0; index < 3; index++) await call('POST', `/v1/schedules/${ids[0]}/run`)
  const runs = async (query: string) => (await call('GET', `/v1/schedules/${ids[0]}/runs?${query}`)).body
  expect(await runs('limit=2')).toMatchObject({ has_more: true, first_id: 'run_3', last_id: 'run_2' })
  expect(await runs('after=run_2')).toMatchObject({ has_more: false, first_id: 'run_1', last_id: 'run_1' })
})

it('jobs of a schedule are found by it, also together with other filters', async () => {
  const { id } = await make()
  const { id: other } = await make()
  const made: string[] = []
  for (let index = 0; index < 3; index++) {
    made.unshift((await call('POST', `/v1/schedules/${id}/run`)).body.id)
    await call('POST', `/v1/schedules/${other}/run`)
  }
  await call('POST', `/v1/jobs/${made[1]}/cancel`)
  const list = async (query: string) =>
    (await call('GET', `/v1/jobs?schedule=${id}&${query}`)).body.data.map((job: { id: string }) => job.id)
  expect(await list('')).toEqual(made)
  expect(await list('status=cancelled')).toEqual([made[1]])
  expect(await list('limit=2')).toEqual(made.slice(0, 2))
  expect(await list(`after=${made[1]}`)).toEqual([made[2]])
  expect((await call('GET', '/v1/jobs?schedule=job_1')).body.error.param).toBe('query.schedule')
  // Its schedule is deleted, they are not.
  await call('DELETE', `/v1/schedules/${id}`)
  expect(await list('')).toEqual(made)
})

it('a schedule of another tenant gets exactly the bytes of one that does not exist', async () => {
  const { id } = await make()
  for (const [method, path] of [
    ['GET', ''],
    ['PATCH', ''],
    ['DELETE', ''],
    ['POST', '/run'],
    ['GET', '/runs'],
  ] as const) {
    const answers = []
    for (const name of [id, 'sch_none', 'nonsense:*']) {
      const reply = await house.app.inject({
        method,
        url: `/v1/schedules/${name}${path}`,
        headers: { authorization: `Bearer ${otherKey}` },
        ...(method === 'PATCH' ? { payload: { name: 'b' } } : {}),
      })
      answers.push([reply.statusCode, reply.body])
    }
    expect(answers[0]![0]).toBe(404)
    expect(answers[1]).toEqual(answers[0])
    expect(answers[2]).toEqual(answers[0])
  }
  const { data } = (await call('GET', '/v1/schedules', { key: otherKey })).body
  expect(data.map((one: Json) => one.id)).not.toContain(id)
  expect((await call('GET', `/v1/jobs?schedule=${id}`, { key: otherKey })).body.data).toEqual([])
})

it('a deleted schedule is gone, its jobs are not', async () => {
  const { id } = await make()
  const { body: job } = await call('POST', `/v1/schedules/${id}/run`)
  expect((await call('DELETE', `/v1/schedules/${id}`)).body).toEqual({
    id,
    object: 'schedule',
    deleted: true,
  })
  expect((await call('GET', `/v1/schedules/${id}`)).status).toBe(404)
  expect((await call('DELETE', `/v1/schedules/${id}`)).status).toBe(404)
  expect((await call('GET', `/v1/jobs/${job.id}`)).status).toBe(200)
  const left = await keysOf(house.redis, `${house.root('acme')}:schedule:${id}*`)
  expect(left).toEqual([`${house.root('acme')}:schedule:${id}:jobs`])
  expect(await house.redis.pttl(left[0]!)).toBeGreaterThan(0)
})
