import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chatJob, type Json, openScheduleHouse, type ScheduleHouse } from './fixture.ts'

const HOUR = 3_600_000
const MINUTE = 60_000

let house: ScheduleHouse
beforeEach(async () => {
  house = await openScheduleHouse()
})
afterEach(() => house.close())

const runsOf = async (id: string) =>
  (await house.call('GET', `/v1/schedules/${id}/runs?limit=1000`)).body.data
const jobsOf = async (id: string) => (await house.call('GET', `/v1/jobs?schedule=${id}&limit=1000`)).body.data
const read = async (id: string) => (await house.call('GET', `/v1/schedules/${id}`)).body
const outcomesOf = async (id: string) => (await runsOf(id)).map((run: Json) => run.outcome).reverse()

describe('a slot', () => {
  it('makes its job, which names the schedule and the slot, and is written into the history', async () => {
    const { id, next_runs: upcoming } = await house.make({ metadata: { a: 'b' } })
    await house.tick()
    expect(await jobsOf(id)).toEqual([])
    await house.moveBack(id, HOUR)
    await house.tick()
    const slot = new Date(Date.parse(upcoming[0]) - HOUR).toISOString()
    const [job] = await jobsOf(id)
    expect(job.metadata).toEqual({ schedule: id, scheduled_for: slot })
    const run = { scheduled_for: slot, outcome: 'created', job_id: job.id, flow_id: null, error: null }
    expect(await runsOf(id)).toEqual([
      { id: 'run_1', object: 'schedule.run', trigger: 'slot', started_at: expect.any(String), ...run },
    ])
    expect(await read(id)).toMatchObject({ runs: 1, last_run: run, metadata: { a: 'b' } })
    expect((await read(id)).next_runs[0]).toBe(upcoming[0])
    expect(house.failures).toEqual([])
  })

  it('makes one job, however many workers reach it, and whenever one of them dies', async () => {
    const { id } = await house.make()
    await house.moveBack(id, HOUR)
    // One created the job, and died before it reported that; its turn is over.
    const { due } = await house.scheduleWork.claim('default', 'a', 10)
    expect(due).toHaveLength(1)
    const order = { tenant: 'default', schedule: id, scheduledFor: due[0]!.slot, terms: {} }
    const launched = await house.launcher.launch(chatJob, {
      ...order,
      idempotencyKey: `${id}\n${due[0]!.slot}`,
    })
    await Promise.all([house.tick(), house.tick()])
    expect(await outcomesOf(id)).toEqual([])
    // And the job was even deleted since.
    if (launched.kind !== 'created') throw new Error(launched.kind)
    await house.call('DELETE', `/v1/jobs/${launched.id}`)
    await house.moveBack(id, 0)
    await Promise.all([house.tick(), house.tick(), house.tick()])
    expect(await runsOf(id)).toMatchObject([{ outcome: 'created', job_id: launched.id }])
    expect(await jobsOf(id)).toEqual([])
    expect(house.failures).toEqual([])
  })

  it('is left to the next worker when one died before its job, also when that is late, and nothing is caught up', async () => {
    const { id } = await house.make({ catch_up: 'none' })
    await house.moveBack(id, HOUR)
    await house.scheduleWork.claim('default', 'a', 10)
    await house.moveBack(id, MINUTE)
    await house.tick()
    expect(await outcomesOf(id)).toEqual(['created'])
  })

  it('that was decided is not decided again when the settings change in between', async () => {
    const { id } = await house.make({ overlap: 'skip' })
    await house.moveBack(id, HOUR)
    const { due } = await house.scheduleWork.claim('default', 'a', 10)
    await house.call('PATCH', `/v1/schedules/${id}`, { body: { every: '2h' } })
    const settled = { slot: due[0]!.slot, outcome: 'skipped' as const, made: null, error: null }
    const settle = () => house.scheduleWork.settle(due[0]!, [settled], due[0]!.slot + HOUR, false)
    // The connection broke, and it was sent again.
    expect([await settle(), await settle()]).toEqual(['stale', 'stale'])
    await house.moveBack(id, 0)
    await house.tick()
    expect(await outcomesOf(id)).toEqual(['skipped'])
    const { next_runs: upcoming, created_at: made } = await read(id)
    expect(Date.parse(upcoming[0]) - Date.parse(made)).toBe(2 * HOUR)
  })

  it('is not run while the schedule is paused, or afterwards', async () => {
    const { id } = await house.make()
    await house.call('PATCH', `/v1/schedules/${id}`, { body: { paused: true } })
    await house.moveBack(id, 3 * HOUR)
    await house.tick()
    await house.call('PATCH', `/v1/schedules/${id}`, { body: { paused: false } })
    await house.tick()
    expect(await runsOf(id)).toEqual([])
    expect(Date.parse((await read(id)).next_runs[0])).toBeGreaterThan(Date.now())
  })

  it.each(['none', 'latest', 'all'] as const)(
    'that was due before a pause is the last one, under every setting of catch_up (%s)',
    async (catch_up) => {
      const { id } = await house.make({ catch_up })
      await house.moveBack(id, HOUR)
      await house.call('PATCH', `/v1/schedules/${id}`, { body: { paused: true } })
      await house.moveBack(id, 3 * HOUR)
      await house.tick()
      expect(await outcomesOf(id)).toEqual([catch_up === 'none' ? 'missed' : 'created'])
      await house.moveBack(id, 3 * HOUR)
      await house.call('PATCH', `/v1/schedules/${id}`, { body: { paused: false } })
      await house.tick()
      expect(await runsOf(id)).toHaveLength(1)
    },
  )

  it('is the last one when there were as many as there may be', async () => {
    const { id } = await house.make({ max_runs: 2, catch_up: 'all' })
    expect((await read(id)).next_runs).toHaveLength(2)
    await house.moveBack(id, 5 * HOUR)
    await house.tick()
    expect(await outcomesOf(id)).toEqual(['created', 'created'])
    expect(await read(id)).toMatchObject({ next_runs: [], runs: 2 })
    // On request it still runs, and with more room it goes on.
    expect((await house.call('POST', `/v1/schedules/${id}/run`)).status).toBe(202)
    const { body } = await house.call('PATCH', `/v1/schedules/${id}`, { body: { max_runs: 3 } })
    expect(body).toMatchObject({ runs: 3, next_runs: [expect.any(String)] })
  })
})

describe('after an outage', () => {
  const slotsOf = async (id: string) =>
    (await runsOf(id)).map((run: Json) => [run.outcome, Date.parse(run.scheduled_for)]).reverse()

  async function sleepThrough(catchUp: string, hours: number) {
    const { id } = await house.make({ catch_up: catchUp })
    await house.moveBack(id, hours * HOUR + MINUTE)
    const createdAt = Number(await house.redis.hget(`${house.root()}:schedule:${id}`, 'created_at'))
    await house.tick()
    expect(house.failures).toEqual([])
    return { id, slot: (index: number) => createdAt + index * HOUR }
  }

  it('slots are dropped with `none`', async () => {
    const { id, slot } = await sleepThrough('none', 3)
    expect(await slotsOf(id)).toEqual([1, 2, 3].map((index) => ['missed', slot(index)]))
    expect(await jobsOf(id)).toEqual([])
    expect(Date.parse((await read(id)).next_runs[0])).toBe(slot(4))
  })

  it('the newest is run with `latest`', async () => {
    const { id, slot } = await sleepThrough('latest', 3)
    expect(await slotsOf(id)).toEqual([
      ['missed', slot(1)],
      ['missed', slot(2)],
      ['created', slot(3)],
    ])
    expect((await jobsOf(id)).map((job: Json) => Date.parse(job.metadata.scheduled_for))).toEqual([slot(3)])
  })

  it('the newest hundred are run with `all`, in order', async () => {
    const { id, slot } = await sleepThrough('all', 130)
    const runs = await slotsOf(id)
    expect(runs).toEqual(
      Array.from({ length: 130 }, (_, index) => [index < 30 ? 'missed' : 'created', slot(index + 1)]),
    )
    const jobs = await jobsOf(id)
    expect(jobs.map((job: Json) => Date.parse(job.metadata.scheduled_for)).reverse()).toEqual(
      Array.from({ length: 100 }, (_, index) => slot(index + 31)),
    )
    expect(await read(id)).toMatchObject({ runs: 100 })
  })
})

describe('while the job before is open', () => {
  const passTwo = async (overlap: string) => {
    const { id } = await house.make({ overlap })
    // Times differ: a slot that comes again is the same slot.
    for (const index of [1, 2]) {
      await house.moveBack(id, HOUR + 1000 * index)
      await house.tick()
    }
    const statuses = (await jobsOf(id)).map((job: Json) => job.status).reverse()
    return { id, outcomes: await outcomesOf(id), statuses }
  }

  it('`allow` makes another', async () => {
    expect(await passTwo('allow')).toMatchObject({
      outcomes: ['created', 'created'],
      statuses: ['queued', 'queued'],
    })
  })

  it('`skip` skips the slot, until it has ended', async () => {
    const { id, outcomes, statuses } = await passTwo('skip')
    expect({ outcomes, statuses }).toEqual({ outcomes: ['created', 'skipped'], statuses: ['queued'] })
    await house.call('POST', `/v1/jobs/${(await jobsOf(id))[0].id}/cancel`)
    await house.moveBack(id, HOUR + 3000)
    await house.tick()
    expect(await outcomesOf(id)).toEqual(['created', 'skipped', 'created'])
  })

  it('`cancel_previous` cancels it first', async () => {
    expect(await passTwo('cancel_previous')).toMatchObject({
      outcomes: ['created', 'created'],
      statuses: ['cancelled', 'queued'],
    })
  })
})

it('a slot of flows makes one flow, which is looked at as a job would be', async () => {
  const flow = { name: 'f', steps: { a: { job: chatJob } } }
  const { id } = await house.make({ job: null, flow, overlap: 'skip' })
  await house.moveBack(id, HOUR)
  // One created the flow, and died before it reported that; its turn is over.
  const { due } = await house.scheduleWork.claim('default', 'a', 10)
  const idempotencyKey = `${id}\n${due[0]!.slot}`
  const order = { tenant: 'default', schedule: id, scheduledFor: due[0]!.slot, idempotencyKey, terms: {} }
  const launched = await house.flowLauncher.launch(flow, order)
  await house.moveBack(id, 0)
  await house.tick()
  if (launched.kind !== 'created') throw new Error(launched.kind)
  expect(await runsOf(id)).toMatchObject([{ outcome: 'created', flow_id: launched.id, job_id: null }])
  const { body: made } = await house.call('GET', `/v1/flows/${launched.id}`)
  expect(made.metadata).toEqual({ schedule: id, scheduled_for: new Date(due[0]!.slot).toISOString() })
  await house.moveBack(id, HOUR + 1000)
  await house.tick()
  expect(await outcomesOf(id)).toEqual(['created', 'skipped'])
  await house.call('PATCH', `/v1/schedules/${id}`, { body: { overlap: 'cancel_previous' } })
  await house.moveBack(id, HOUR + 2000)
  await house.tick()
  expect(await outcomesOf(id)).toEqual(['created', 'skipped', 'created'])
  expect((await house.call('GET', `/v1/flows/${launched.id}`)).body.status).toBe('cancelled')
  expect(house.failures).toEqual([])
})

describe('a job that is refused', () => {
  const fill = async (count: number) => {
    for (let index = 0; index < count; index++) {
      const made = await house.call('POST', '/v1/jobs', {
        body: { ...chatJob, body: { ...chatJob.body, seed: index } },
        key: 'key-of-acme-for-tests',
      })
      expect(made.status).toBe(202)
    }
  }

  it('is tried again for a while, or else the slot says why there is none', async () => {
    await house.close()
    const tenants = { acme: { keys: ['key-of-acme-for-tests'], limits: { max_queued: 1 } } }
    house = await openScheduleHouse({ tenants })
    const key = 'key-of-acme-for-tests'
    const { id } = await house.make({}, { key })
    await fill(1)
    await house.moveBack(id, HOUR, 'acme')
    await house.tick()
    const runs = async () => (await house.call('GET', `/v1/schedules/${id}/runs`, { key })).body.data
    expect(await runs()).toEqual([])
    await house.moveBack(id, MINUTE, 'acme')
    await house.tick()
    expect(await runs()).toMatchObject([
      { outcome: 'refused', job_id: null, error: { code: 'queue_full', message: expect.any(String) } },
    ])
    expect(house.slots).toMatchObject([{ outcome: 'refused', tenant: 'acme', schedule: id }])
  })

  it('for good is not tried again', async () => {
    const { id } = await house.make()
    house.config.routes = {}
    await house.moveBack(id, HOUR)
    await house.tick()
    expect(await runsOf(id)).toMatchObject([{ outcome: 'refused', error: { code: 'model_not_found' } }])
    expect(await read(id)).toMatchObject({ runs: 0, last_run: { outcome: 'refused' } })
  })
})

it('a tenant that left the configuration has no slots, and when it is back those that passed are caught up', async () => {
  await house.close()
  const key = 'key-of-acme-for-tests'
  house = await openScheduleHouse({ tenants: { acme: { keys: [key] } } })
  const { id } = await house.make({}, { key })
  const { tenants } = house.config
  house.config.tenants = { other: tenants.acme! }
  await house.moveBack(id, HOUR, 'acme')
  await house.tick()
  house.config.tenants = tenants
  const runs = async () => (await house.call('GET', `/v1/schedules/${id}/runs`, { key })).body.data
  expect(await runs()).toEqual([])
  await house.moveBack(id, MINUTE, 'acme')
  await house.tick()
  expect(await runs()).toMatchObject([{ outcome: 'created' }])
})

it('a hundred schedules and more that are due at once are all run', async () => {
  const ids = await Promise.all(Array.from({ length: 250 }, async () => (await house.make()).id))
  for (const id of ids) await house.moveBack(id, HOUR)
  await house.tick()
  expect(house.slots.map(({ schedule }) => schedule).sort()).toEqual(ids.sort())
  expect(house.slots.every(({ outcome }) => outcome === 'created')).toBe(true)
})
