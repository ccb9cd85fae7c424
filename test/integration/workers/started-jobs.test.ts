import { randomUUID } from 'node:crypto'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { createDirectDispatch } from '../../../jobs/direct-dispatch.ts'
import { directChannel } from '../../../jobs/keys.ts'
import { createLeases } from '../../../jobs/leases.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import { createOpenLanes } from '../../../jobs/open-lanes.ts'
import type { Held } from '../../../jobs/queue-entry.ts'
import type { Work } from '../../../jobs/work.ts'
import { createWorkerChannels } from '../../../jobs/worker-channels.ts'
import { createProviders } from '../../../providers/registry.ts'
import { createStartPlans } from '../../../services/start-plans.ts'
import { giveBackStarted } from '../../../workers/give-back-started.ts'
import { createServedLanes } from '../../../workers/served-lanes.ts'
import type { WorkerDeps } from '../../../workers/worker.ts'
import {
  complete,
  intent,
  LANE,
  newJob,
  queuedEntries,
  read,
  statusesOf,
  success,
  TENANT,
  until,
} from '../../helpers/store.ts'
import { openWorkshop, type WorkshopOptions } from './fixture.ts'

const LEASE_MS = 8_000

/** `leaseMs`: how long the API says that places last. */
type HouseOptions = WorkshopOptions & { leaseMs?: number }

/** A workshop, and the API's side of it, which starts jobs for workers. */
async function openHouse({ leaseMs = LEASE_MS, ...options }: HouseOptions = {}) {
  const workshop = await openWorkshop(options)
  const { store, gate, config } = workshop
  const planStart = createStartPlans({
    ...{ gate, queues: store.queues, leaseMs },
    config: () => config,
    now: Date.now,
  })
  return { ...workshop, planStart }
}

/** The same with workers that report that they are open. `starts`: how often one asked the store to start jobs. */
async function openDoor(
  options: HouseOptions = {},
  overrides: Partial<WorkerDeps> = {},
  disturb = (work: Work) => work,
) {
  let starts = 0
  const house = await openHouse({
    ...options,
    disturb: (work) => ({
      ...disturb(work),
      start(...asked) {
        starts++
        return work.start(...asked)
      },
    }),
  })
  const { store, planStart } = house
  const worker = await house.work(undefined, overrides)
  const openLanes = createOpenLanes({ pubsub: store.pubsub, prefix: store.prefix, now: Date.now })
  await until(() => openLanes.pick(LANE) !== null)
  const jobs = store.openJobs({ openLanes, planStart })
  const plain = store.openJobs({ openLanes })
  async function submit(members: Partial<NewJob> = {}, by = jobs): Promise<string> {
    const outcome = await by.create(newJob({ isAwaited: true, ...members }, randomUUID()))
    if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
    return outcome.job.id
  }
  const ended = (ids: string[]) =>
    until(async () => (await statusesOf(store, ids)).every((status) => status === 'completed'))
  return { ...house, worker, jobs, plain, submit, ended, starts: () => starts }
}

/** The same with a worker of this test, which only listens. */
async function openEar(options: HouseOptions = {}) {
  const house = await openHouse(options)
  const { store, planStart } = house
  const name = randomUUID()
  const channel = directChannel(store.prefix, name)
  const directDispatch = createDirectDispatch({ ...store, leaseMs: LEASE_MS, worker: name })
  const came: Held[] = []
  const leave = await store.pubsub.listenBytes(channel, (message) =>
    came.push(directDispatch.toHeld(message)),
  )
  onTestFinished(leave)
  const api = (takesStarted = true) =>
    store.openJobs({ openLanes: { pick: () => ({ name, channel, takesStarted }) }, planStart })
  async function submit(members: Partial<NewJob> = {}, jobs = api()) {
    const outcome = await jobs.create(newJob({ isAwaited: true, ...members }, randomUUID()))
    if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
    return outcome.job
  }
  const heard = async (id: string) => {
    await until(() => came.some((one) => one.id === id))
    return came.find((one) => one.id === id)!
  }
  return { ...house, directDispatch, api, submit, heard, came, leave }
}

/** The content of a record and its attempts, without what differs from job to job. */
async function traces(store: Awaited<ReturnType<typeof openHouse>>['store'], id: string) {
  const key = `${store.root}:job:${id}`
  const [fields, attempts, events] = await Promise.all([
    store.redis.hkeys(key),
    store.jobs.attempts(TENANT, id),
    store.redis.lrange(`${key}:events`, 0, -1),
  ])
  const alike = attempts!.map((one) => Object.keys(one).sort())
  return { fields: fields.sort(), attempts: alike, events: events.map((one) => JSON.parse(one).event) }
}

// On a cluster no job is started where it is created: its keys are in three slots.
describe.skipIf(inject('clusterUrls').length > 0)('a job that is started where it is created', () => {
  it('is called without another script, and leaves the same data as any other job', async () => {
    const { store, submit, plain, ended, starts, simulator, gate, config } = await openDoor()
    const id = await submit()
    await ended([id])
    expect(starts()).toBe(0)
    const other = await submit({}, plain)
    await ended([other])
    expect(starts()).toBe(1)
    expect(await traces(store, id)).toEqual(await traces(store, other))
    expect((await traces(store, id)).events).toEqual(['job.queued', 'job.started', 'job.completed'])
    expect(simulator.state().calls).toBe(2)
    expect(await store.redis.zcard(`${store.root}:outbox`)).toBe(0)
    await until(async () => (await gate.read(resolveLane(config, LANE)!)).inFlight === 0)
  })

  it('goes through the queue where the gate has no room, and its events say nothing else', async () => {
    const { store, submit, ended, simulator } = await openDoor({
      limits: '{ max_concurrency: 2 }',
      simulator: { latencyMs: 20 },
    })
    const ids = await Promise.all(Array.from({ length: 10 }, () => submit()))
    await ended(ids)
    expect(simulator.state().calls).toBe(10)
    for (const id of ids) {
      const { events } = await traces(store, id)
      expect(events).toEqual(['job.queued', 'job.started', 'job.completed'])
    }
    expect(await store.redis.zcard(`${store.root}:outbox`)).toBe(0)
  })

  it('is retried by way of the queue', async () => {
    const { store, submit, ended, simulator } = await openDoor()
    simulator.setFaults([{ kind: '500', times: 2 }])
    const id = await submit()
    await ended([id])
    expect(await store.jobs.attempts(TENANT, id)).toHaveLength(3)
  })

  it('is read by its worker where its body is large', async () => {
    const { submit, ended, starts } = await openDoor()
    const content = Array.from({ length: 10_000 }, () => randomUUID()).join(' ')
    const id = await submit({ body: { model: LANE, messages: [{ role: 'user', content }] } })
    await ended([id])
    expect(starts()).toBe(1)
  })

  it('is claimed again by a worker that got its message late, because another one may have it', async () => {
    const { submit, ended, starts, simulator } = await openDoor({}, { now: () => Date.now() + LEASE_MS })
    const id = await submit()
    await ended([id])
    expect(starts()).toBe(1)
    expect(simulator.state().calls).toBe(1)
  })

  it('is claimed again where its place ends before its worker would renew it', async () => {
    const { submit, ended, starts } = await openDoor({ leaseMs: LEASE_MS / 2 })
    await ended([await submit()])
    expect(starts()).toBe(1)
  })

  it('is opened again if that failed', async () => {
    let failures = 0
    const { submit, ended, starts, errors } = await openDoor({}, {}, (work) => ({
      ...work,
      async openStarted(...asked) {
        if (failures++ === 0) throw new Error('no answer')
        return work.openStarted(...asked)
      },
    }))
    await ended([await submit()])
    expect([failures, starts()]).toEqual([2, 0])
    expect(errors).toEqual(['opening a started job: Error: no answer'])
  })

  it('is answered as running, and can be cancelled at once', async () => {
    const { store, jobs, simulator } = await openDoor({ simulator: { latencyMs: 5_000 } })
    const outcome = await jobs.create(newJob({ isAwaited: true }))
    if (outcome.kind !== 'created') throw new Error(outcome.kind)
    expect(outcome.job).toMatchObject({ status: 'running', attempts: 1 })
    const { id } = outcome.job
    await jobs.cancel(TENANT, id)
    await until(async () => (await statusesOf(store, [id]))[0] === 'cancelled')
    const attempts = () => store.jobs.attempts(TENANT, id)
    await until(async () => (await attempts())?.[0]?.outcome === 'aborted')
    expect(simulator.state().calls).toBeLessThanOrEqual(1)
  })
})

describe.skipIf(inject('clusterUrls').length > 0)('the script that creates a job starts it', () => {
  it('with its permit and for its worker alone', async () => {
    const { store, submit, heard } = await openEar()
    const { id, status } = await submit()
    expect(status).toBe('running')
    const held = await heard(id)
    expect(held).toMatchObject({ id, entry: 1, isDirect: false, started: { reservedUsd: null } })
    expect(held.started?.permit).toMatch(/^\d+-\d+$/)
    const opened = await store.work.openStarted(held, LANE)
    expect(opened).toMatchObject({
      kind: 'run',
      claimed: { id, call: 1, attempts: 1, lane: LANE, maxAttempts: 3 },
    })
    // The same worker gets the same answer from the store again, and no other worker gets it.
    const [again] = await store.work.start([held], intent)
    if (again?.kind !== 'run' || opened.kind !== 'run') throw new Error(`${again?.kind}`)
    expect(again.claimed).toEqual({ ...opened.claimed, waitedMs: again.claimed.waitedMs })
    const [other] = await store.work.start([{ ...held, token: 'direct:another' }], intent)
    expect(other).toEqual({ kind: 'done' })
    const { claimed } = opened
    await store.work.complete([{ claimed, end: success, result: { answer: 1 }, usage: null, costUsd: 0 }])
    expect(await store.redis.zcard(`${store.root}:outbox`)).toBe(0)
  })

  it('not when nobody listens, where something waits, or while other checks are needed', async () => {
    const { store, submit, api, heard, leave, came } = await openEar()
    const isStarted = async (members: Partial<NewJob> = {}, jobs = api()) => {
      const { id } = await submit(members, jobs)
      return (await heard(id)).started !== null
    }
    expect(await isStarted()).toBe(true)
    expect(await isStarted({}, api(false))).toBe(false)
    const limits = { maxQueued: 1_000_000, requestsPerMinute: null }
    expect(await isStarted({ limits: { ...limits, budgetUsdPerDay: 1 } })).toBe(false)
    const cost = { ...newJob().cost, fairKey: 'someone' }
    const perFairKey = { maxQueued: null, maxRunning: 5, requestsPerMinute: null }
    expect(
      await isStarted({ fairKey: 'someone', cost, limits: { ...limits, budgetUsdPerDay: null, perFairKey } }),
    ).toBe(false)
    await store.redis.set(`${store.root}:paused`, 'by hand', 'PX', 60_000)
    expect(await isStarted()).toBe(false)
    await store.redis.del(`${store.root}:paused`)
    expect(await isStarted({ deadline: Date.now() - 1 })).toBe(false)
    const [wait, prioritized, active] = store.queues.waitingKeys(LANE)
    await store.redis.lpush(active!, 'an entry')
    expect(await isStarted()).toBe(false)
    await store.redis.del(active!)
    expect(await isStarted()).toBe(true)
    // Waiting entries of the queue go first, also before a job that its worker would start.
    const goesBehind = async () => {
      const known = came.length
      const { id, status } = await submit()
      expect(status).toBe('queued')
      await until(async () => (await queuedEntries(store)).includes(`${id}-1`))
      expect(came).toHaveLength(known)
    }
    await store.redis.lpush(wait!, 'an entry')
    await goesBehind()
    await store.redis.del(wait!)
    await store.redis.zadd(prioritized!, 1, 'an entry')
    await goesBehind()
    await store.redis.del(prioritized!)
    expect(await isStarted()).toBe(true)
    const before = came.length
    leave()
    await until(async () => {
      const open = (await store.redis.pubsub('CHANNELS', `${store.prefix}:express:*`)) as string[]
      return open.length === 0
    })
    const { id, status } = await submit()
    expect(status).toBe('queued')
    await until(async () => (await queuedEntries(store)).includes(`${id}-1`))
    expect(came).toHaveLength(before)
  })

  it('once, however often it is sent', async () => {
    const { store, api, gate, config } = await openEar()
    const job = newJob({ isAwaited: true, id: `job_${randomUUID().replaceAll('-', '')}` })
    const outcomes = [await api().create(job), await api().create(job)]
    expect(outcomes.map(({ kind }) => kind)).toEqual(['created', 'replayed'])
    expect((await gate.read(resolveLane(config, LANE)!)).inFlight).toBe(1)
    expect(await store.redis.llen(`${store.root}:job:${job.id}:events`)).toBe(2)
  })

  it('with a permit that ends when the job may be called again', async () => {
    const { store, submit, heard, gate, config } = await openEar()
    const { id } = await submit()
    const { started } = await heard(id)
    const cost = { requests: 1, tokens: 1, inputTokens: 1, outputTokens: 1 }
    const { keys } = await gate.prepareTake(resolveLane(config, LANE)!, cost, LEASE_MS)
    const endsAt = Number(await store.redis.zscore(keys[1]!, started!.permit))
    expect(endsAt - started!.at).toBeGreaterThanOrEqual(LEASE_MS)
    expect(endsAt - started!.at).toBeLessThanOrEqual(LEASE_MS + 2_100)
  })

  it.for(['never knew', 'knows no more'])(
    'and a worker that %s its lane gives it back, also where Redis fails',
    async (which) => {
      const { store, config, planStart, work } = await openHouse()
      const empty = { ...config, providers: {}, models: {} }
      let known = which === 'never knew' ? empty : config
      const name = randomUUID()
      const channel = directChannel(store.prefix, name)
      const providers = createProviders({ config })
      onTestFinished(() => providers.close())
      const publish = (to: string, message: string) => store.redis.publish(to, message)
      let tries = 0
      await work(
        (bare) => ({
          ...bare,
          async requeue(...asked) {
            if (tries++ === 0) throw new Error('no answer')
            return bare.requeue(...asked)
          },
        }),
        {
          lanes: createServedLanes({ config: () => known, provider: providers.get }),
          directDispatch: createDirectDispatch({ ...store, leaseMs: LEASE_MS, worker: name }),
          channels: createWorkerChannels({ ...store, publish, worker: name }),
        },
      )
      await until(async () => Number((await store.redis.pubsub('NUMSUB', channel))[1]) > 0)
      known = empty
      const openLanes = { pick: () => ({ name, channel, takesStarted: true }) }
      const outcome = await store.openJobs({ openLanes, planStart }).create(newJob({ isAwaited: true }))
      if (outcome.kind !== 'created') throw new Error(outcome.kind)
      await until(async () => (await queuedEntries(store)).length === 1)
      expect(tries).toBe(2)
      expect((await read(store, outcome.job.id)).attempts).toBe(0)
    },
  )

  it('so that it is found when its worker dies, and its call is marked', async () => {
    const { store, submit, heard } = await openEar()
    const { id } = await submit()
    const { entry } = await heard(id)
    const age = (byMs: number) => store.redis.zincrby(`${store.root}:outbox`, -byMs, `${id}-${entry}`)
    await age(2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([])
    await age(LEASE_MS)
    await store.maintenance.sweep()
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id, call: 2 })
    await complete(store, running)
    const attempts = await store.jobs.attempts(TENANT, id)
    expect(attempts).toMatchObject([{ outcome: 'lost', ambiguous: true }, { outcome: 'completed' }])
  })

  it.for([true, false])(
    'and a lost call costs and counts only where its worker had it (%s)',
    async (hadIt) => {
      const { store, submit, heard } = await openEar()
      const { id } = await submit({ estimateUsd: 0.7 })
      const entry = `${id}-${(await heard(id)).entry}`
      const leases = createLeases({ ...store, lockMs: 10_000, placeMs: LEASE_MS })
      if (hadIt) await leases.renewPlaces(TENANT, [entry])
      await store.redis.zincrby(`${store.root}:outbox`, -2_500 - LEASE_MS, entry)
      await store.maintenance.sweep()
      const running = await store.start()
      const record = `${store.root}:job:${id}`
      expect(await store.redis.hmget(record, 'lost', 'paid_nano')).toEqual(
        hadIt ? ['1', '700000000'] : [null, null],
      )
      await complete(store, running)
      const [lost] = (await store.jobs.attempts(TENANT, id))!
      expect(lost).toMatchObject({ outcome: 'lost', ambiguous: true })
      expect(lost!.cost_usd ?? null).toBe(hadIt ? 0.7 : null)
      expect((await read(store, id)).cost_usd).toBe(hadIt ? 1.2 : 0.5)
    },
  )

  it('and its call is not lost where its worker reads it late, before any other has the job', async () => {
    const { store, submit, heard } = await openEar()
    const { id } = await submit()
    const held = await heard(id)
    await store.redis.zincrby(`${store.root}:outbox`, -2_500 - LEASE_MS, `${id}-${held.entry}`)
    await store.maintenance.sweep()
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([{ outcome: 'lost' }])
    expect(await store.work.start([held], intent)).toMatchObject([{ kind: 'run' }])
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([{ outcome: 'running', ambiguous: false }])
  })

  it('and books nothing where it is cancelled before a worker has it', async () => {
    const { store, submit } = await openEar()
    const { id } = await submit({ estimateUsd: 0.7 })
    await store.jobs.cancel(TENANT, id)
    expect(await store.redis.hget(`${store.root}:job:${id}`, 'paid_nano')).toBeNull()
    expect(await store.redis.get(`${store.root}:money:reserved`)).toBe('0')
  })

  it.for(['cancel', 'remove'] as const)(
    'and another job leads at once where that happens (%s) before its worker has read it',
    async (how) => {
      const { store, submit, heard } = await openEar()
      const members: Partial<NewJob> = { cache: 'use', body: { model: LANE, messages: [] } }
      const { id } = await submit(members)
      const held = await heard(id)
      const follower = await store.jobs.create(newJob(members))
      if (follower.kind !== 'created') throw new Error(follower.kind)
      await store.jobs[how](TENANT, id)
      expect(await store.work.start([held], intent)).toEqual([{ kind: 'done' }])
      await until(async () => (await queuedEntries(store)).includes(`${follower.job.id}-1`))
      expect(await store.redis.zcard(`${store.root}:outbox`)).toBe(0)
      const kept = await store.redis.hmget(`${store.root}:job:${id}`, 'claim', 'carrying')
      expect(kept).toEqual([null, null])
    },
  )

  it('and a worker that stops gives it back, uncounted', async () => {
    const { store, submit, heard, directDispatch } = await openEar()
    const { id } = await submit()
    const held = await heard(id)
    const { giveBack } = directDispatch
    await giveBackStarted(held, { work: store.work, lane: LANE, now: Date.now, giveBack })
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id, call: 2, attempts: 1 })
    await complete(store, running)
    expect((await read(store, id)).status).toBe('completed')
  })
})
