import { describe, expect, it, onTestFinished } from 'vitest'
import { createDueTimers } from '../../../jobs/due-timers.ts'
import { keepMaintained } from '../../helpers/maintainer.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  complete,
  eventsOf,
  failure,
  intent,
  LANE,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  retryNow,
  statusesOf,
  submit,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

const inMs = (ms: number) => Date.now() + ms

/** Sweeps until the job is in the status. */
async function sweepUntil(store: TestStore, id: string, status: string) {
  await expect
    .poll(async () => {
      await store.maintenance.sweep()
      await store.retention.run()
      return (await store.jobs.get(TENANT, id))?.status ?? 'gone'
    })
    .toBe(status)
}

describe('a scheduled job', () => {
  it('is not given to a worker before its time', async () => {
    const store = await openTestStore()
    const runAt = inMs(500)
    const job = await submit(store, { runAt })
    expect(job).toMatchObject({
      status: 'scheduled',
      waiting_for: 'schedule',
      run_at: new Date(runAt).toISOString(),
    })
    expect(await read(store, job.id)).toMatchObject({ status: 'scheduled' })
    keepMaintained(store)
    expect(await store.lane().fetch(1)).toEqual([])
    const { held } = await store.start()
    expect(held.id).toBe(job.id)
    expect(Date.now()).toBeGreaterThanOrEqual(runAt)
  })

  it('has no entry in its lane before its time, and a place among the others only then', async () => {
    const store = await openTestStore()
    const job = await submit(store, { runAt: inMs(60_000) })
    const second = await store.jobs.createMany([newJob({ runAt: inMs(60_000) })])
    expect(second).toMatchObject([{ kind: 'created', status: 'scheduled' }])
    await store.outbox.idle()
    await store.maintenance.sweep()
    expect(await store.queues.backlog(LANE)).toEqual({ waiting: 0, delayed: 0, active: 0 })
    // The time comes, by Redis' clock.
    await store.redis.hset(`${store.root}:job:${job.id}`, 'ready_at', Date.now())
    await store.redis.zadd(`${store.root}:outbox`, Date.now() - 2000, `${job.id}-1`)
    await store.maintenance.sweep()
    expect(await store.queues.backlog(LANE)).toEqual({ waiting: 1, delayed: 0, active: 0 })
    expect((await read(store, job.id)).status).toBe('queued')
    expect(await store.redis.hgetall(`${store.root}:scheduled-lanes`)).toEqual({ [LANE]: '1' })
    expect((await store.start()).claimed.id).toBe(job.id)
  })

  it('is queued in its time by the process that made it, when there is no maintainer', async () => {
    const store = await openTestStore()
    const dueTimers = createDueTimers({
      ...store,
      now: Date.now,
      onError(error) {
        throw error
      },
    })
    onTestFinished(() => dueTimers.close())
    const jobs = store.openJobs({ dueTimers })
    const runAt = inMs(600)
    await jobs.createMany([newJob({ runAt }, 'one'), newJob({ runAt: runAt - 300 }, 'two')])
    for (const text of ['two', 'one']) {
      const { claimed } = await store.start()
      expect(JSON.stringify(claimed.body)).toContain(text)
    }
    expect(Date.now()).toBeGreaterThanOrEqual(runAt)
    expect(Date.now() - runAt).toBeLessThan(5000)
  })

  it('of an earlier release, which has a delayed entry in its lane, runs at its time', async () => {
    const store = await openTestStore()
    const runAt = inMs(400)
    const job = await submit(store, { runAt })
    await store.outbox.dispatchById(TENANT, job.id)
    await store.outbox.idle()
    await store.redis.del(`${store.root}:outbox`)
    expect(await store.queues.backlog(LANE)).toMatchObject({ delayed: 1 })
    const { held } = await store.start()
    expect(held.id).toBe(job.id)
    expect(Date.now()).toBeGreaterThanOrEqual(runAt)
  })

  it('takes a cached answer when it is due, not before', async () => {
    const store = await openTestStore()
    await submit(store)
    await complete(store, await store.start())
    const job = await submit(store, { runAt: inMs(250) })
    expect(job.status).toBe('scheduled')
    keepMaintained(store)
    const held = await store.fetch()
    expect(await store.work.start([held], intent)).toEqual([{ kind: 'done' }])
    expect(await read(store, job.id)).toMatchObject({ status: 'completed', cache: 'hit' })
  })

  it('joins a call that is under way when it is due', async () => {
    const store = await openTestStore()
    const job = await submit(store, { runAt: inMs(400) })
    await submit(store)
    const running = await store.start()
    keepMaintained(store)
    const due = await store.fetch()
    expect(due.id).toBe(job.id)
    expect(await store.work.start([due], intent)).toEqual([{ kind: 'done' }])
    await store.lane().acknowledge(due)
    expect(await read(store, job.id)).toMatchObject({ status: 'queued', cache: 'shared' })
    await complete(store, running)
    expect((await read(store, job.id)).status).toBe('completed')
  })

  it('runs at once when its time is in the past', async () => {
    const store = await openTestStore()
    const job = await submit(store, { runAt: inMs(-1000) })
    expect(job.status).toBe('queued')
    expect((await store.start()).held.id).toBe(job.id)
  })

  it('can be cancelled, and leaves its lane then', async () => {
    const store = await openTestStore()
    const job = await submit(store, { runAt: inMs(60_000) })
    const removed = await submit(store, { runAt: inMs(60_000) })
    await store.jobs.cancel(TENANT, job.id)
    await store.jobs.remove(TENANT, removed.id)
    expect(await store.redis.exists(`${store.root}:outbox`, `${store.root}:scheduled-lanes`)).toBe(0)
    await expect.poll(() => store.queues.backlog(LANE)).toEqual({ waiting: 0, delayed: 0, active: 0 })
  })
})

describe('a deadline', () => {
  it('ends a job that still waits, without a call', async () => {
    const store = await openTestStore()
    const job = await submit(store, { deadline: inMs(40) })
    await sweepUntil(store, job.id, 'failed')
    expect(await read(store, job.id)).toMatchObject({
      attempts: 0,
      error: { code: 'deadline_exceeded', provider_status: null },
    })
    const held = await store.fetch()
    expect(await store.work.start([held], intent)).toEqual([{ kind: 'done' }])
  })

  it('ends a job that is claimed too late, without a call', async () => {
    const store = await openTestStore()
    const job = await submit(store, { deadline: inMs(30) })
    const held = await store.fetch()
    await expect.poll(() => Date.now() > Date.parse(job.deadline!)).toBe(true)
    expect(await store.work.start([held], intent)).toEqual([{ kind: 'done' }])
    expect(await read(store, job.id)).toMatchObject({
      status: 'failed',
      error: { code: 'deadline_exceeded' },
    })
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.failed'])
  })

  it('is dropped when its job ends before it', async () => {
    const store = await openTestStore()
    const job = await submit(store, { deadline: inMs(60_000) })
    expect(await store.redis.zrange(`${store.root}:deadlines`, '0', '-1')).toEqual([job.id])
    await complete(store, await store.start())
    expect(await store.redis.zcard(`${store.root}:deadlines`)).toBe(0)
  })

  it('leaves a running call alone, and ends the job when it would wait again', async () => {
    const store = await openTestStore()
    const job = await submit(store, { deadline: inMs(400) })
    const { held, claimed } = await store.start()
    await expect.poll(() => Date.now() > Date.parse(job.deadline!)).toBe(true)
    await store.maintenance.sweep()
    expect((await read(store, job.id)).status).toBe('running')
    await store.work.requeue(claimed, failure, retryNow)
    await store.lane().delay(held, Date.now())
    const again = await store.fetch()
    expect(await store.work.start([again], intent)).toEqual([{ kind: 'done' }])
    expect((await read(store, job.id)).error).toMatchObject({ code: 'deadline_exceeded' })
  })

  it('of a leader does not end its followers', async () => {
    const store = await openTestStore()
    const leader = await submit(store, { deadline: inMs(40) })
    const follower = await submit(store)
    await sweepUntil(store, leader.id, 'failed')
    await expect.poll(() => queuedEntries(store)).toContain(`${follower.id}-1`)
    const stale = await store.fetch()
    expect(await store.work.start([stale], intent)).toEqual([{ kind: 'done' }])
    await store.lane().acknowledge(stale)
    await complete(store, await store.start())
    expect((await read(store, follower.id)).status).toBe('completed')
  })

  it('of a follower ends the follower alone', async () => {
    const store = await openTestStore()
    const leader = await submit(store)
    const follower = await submit(store, { deadline: inMs(40) })
    await sweepUntil(store, follower.id, 'failed')
    await complete(store, await store.start())
    expect(await statusesOf(store, [leader.id, follower.id])).toEqual(['completed', 'failed'])
  })
})

describe('the sweeper', () => {
  it('deletes a job when its retention is over', async () => {
    const store = await openTestStore({ retainMs: 30 })
    const job = await submit(store, { group: 'nightly' })
    await complete(store, await store.start())
    await sweepUntil(store, job.id, 'gone')
    expect(await keysOf(store.redis, `${store.root}:job:*`)).toEqual([])
    expect(await store.jobs.group(TENANT, 'nightly')).toBeNull()
    // The answer outlives the job that bought it.
    expect((await submit(store)).cache).toBe('hit')
  })

  it('never deletes an open job', async () => {
    const store = await openTestStore({ retainMs: 1 })
    const job = await submit(store)
    await store.maintenance.sweep()
    await store.retention.run()
    expect((await read(store, job.id)).status).toBe('queued')
  })

  it('queues what a crash left in the outbox', async () => {
    const store = await openTestStore()
    const dying = store.openJobs({ outbox: { ...store.outbox, dispatch: async () => {} } })
    const outcome = await dying.create(newJob({ priority: 'high' }))
    if (outcome.kind !== 'created') throw new Error(outcome.kind)
    const { id } = outcome.job
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([]) // Its writer may be about to queue it.
    await store.redis.zadd(`${store.root}:outbox`, Date.now() - 3000, `${id}-1`)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([`${id}-1`])
    expect(await store.redis.zcard(`${store.root}:outbox`)).toBe(0)
    await complete(store, await store.start())
  })

  it('queues an entry once that was queued but was still in the outbox', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await queuedEntries(store)
    await store.redis.zadd(`${store.root}:outbox`, Date.now() - 3000, `${job.id}-1`)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([`${job.id}-1`])
  })

  it('keeps the start of a scheduled job that a crash left', async () => {
    const store = await openTestStore()
    const job = await submit(store, { runAt: inMs(60_000) })
    // As an earlier release left it.
    await store.redis.zadd(`${store.root}:outbox`, Date.now() - 3000, `${job.id}-1`)
    await store.maintenance.sweep()
    expect(await store.queues.backlog(LANE)).toMatchObject({ waiting: 0, delayed: 1 })
  })

  it('walks the tenants of every process', async () => {
    const store = await openTestStore({ retainMs: 1 })
    await submit(store, { tenant: 'other' })
    await store.maintenance.register(['other'])
    expect((await store.maintenance.tenants()).sort()).toEqual([TENANT, 'other'])
    await complete(store, await store.start())
    await expect
      .poll(async () => {
        await store.retention.run()
        return (await store.jobs.list('other', {}, 10)).data
      })
      .toEqual([])
  })
})
