import { randomUUID } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createExpress } from '../../../jobs/express.ts'
import { expressChannel } from '../../../jobs/keys.ts'
import type { Held } from '../../../jobs/queue.ts'
import {
  complete,
  intent,
  LANE,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  retryNow,
  success,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'

const LEASE_MS = 5_000

/** A worker that takes jobs straight from the API, and the API's side of it. */
async function openExpress(store: TestStore) {
  const worker = randomUUID()
  const express = createExpress({ ...store, leaseMs: LEASE_MS, worker })
  const came: Held[] = []
  const leave = await store.live.listen(expressChannel(store.prefix, worker), (message) =>
    came.push(express.toHeld(message)),
  )
  onTestFinished(leave)
  const jobs = store.openJobs({ openLanes: { pick: () => expressChannel(store.prefix, worker) } })
  async function submit() {
    const outcome = await jobs.create(newJob({ isAwaited: true }, randomUUID()))
    if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
    await until(() => came.some(({ id }) => id === outcome.job.id))
    return { job: outcome.job, held: came.find(({ id }) => id === outcome.job.id)! }
  }
  return { express, jobs, leave, submit }
}

/** Moves the job's time in the outbox into the past, as if it had stood there for long. */
async function age(store: TestStore, { id, entry }: Held, byMs: number) {
  await store.redis.zincrby(`${store.root}:outbox`, -byMs, `${id}-${entry}`)
}

const outboxOf = (store: TestStore) => store.redis.zrange(`${store.root}:outbox`, '0', '-1')

async function startOne(store: TestStore, held: Held) {
  const [started] = await store.work.start([held], intent)
  return started!
}

describe('a job straight from the API', () => {
  it('is not queued, is claimed by the worker that heard of it, and leaves nothing behind', async () => {
    const store = await openTestStore()
    const { submit } = await openExpress(store)
    const { job, held } = await submit()
    expect(held).toMatchObject({ tenant: TENANT, id: job.id, entry: 1, bull: null })
    expect(await queuedEntries(store)).toEqual([])
    const started = await startOne(store, held)
    if (started.kind !== 'run') throw new Error(started.kind)
    const { claimed } = started
    await store.work.complete([{ claimed, end: success, result: { answer: 1 }, usage: null, costUsd: 0 }])
    expect((await read(store, job.id)).result).toEqual({ answer: 1 })
    expect(await outboxOf(store)).toEqual([])
  })

  it('goes by the queue when nobody hears of it', async () => {
    const store = await openTestStore()
    const { jobs, leave } = await openExpress(store)
    leave()
    await store.redis.ping()
    await until(
      async () =>
        ((await store.redis.pubsub('CHANNELS', `${store.prefix}:express:*`)) as string[]).length === 0,
    )
    const outcome = await jobs.create(newJob({ isAwaited: true }))
    if (outcome.kind !== 'created') throw new Error(outcome.kind)
    expect(await queuedEntries(store)).toEqual([`${outcome.job.id}-1`])
  })

  it('is found by the sweeper when the worker that heard of it makes no call', async () => {
    const store = await openTestStore()
    const { submit } = await openExpress(store)
    const { job, held } = await submit()
    await age(store, held, 2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([`${job.id}-1`])
  })

  it("is the queue's once the sweeper may have looked, so that no two workers call", async () => {
    const store = await openTestStore()
    const { submit } = await openExpress(store)
    const { held } = await submit()
    await age(store, held, 1_500)
    expect(await startOne(store, held)).toEqual({ kind: 'done' })
    await age(store, held, 1_000)
    await store.maintenance.sweep()
    await complete(store, await store.start())
    expect(await startOne(store, held)).toEqual({ kind: 'done' })
  })

  it('is left alone while its worker lives, and is called again, marked, when it died', async () => {
    const store = await openTestStore()
    const { express, submit } = await openExpress(store)
    const { job, held } = await submit()
    expect((await startOne(store, held)).kind).toBe('run')
    await age(store, held, 2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([])
    await age(store, held, LEASE_MS)
    await express.renew([held])
    await age(store, held, 2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([])
    await age(store, held, LEASE_MS)
    await store.maintenance.sweep()
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id: job.id, call: 2 })
    await complete(store, running)
    const attempts = await store.jobs.attempts(TENANT, job.id)
    expect(attempts).toMatchObject([{ outcome: 'lost', ambiguous: true }, { outcome: 'completed' }])
  })

  it('is not taken from a worker that claims it twice, and not given to two', async () => {
    const store = await openTestStore()
    const { submit } = await openExpress(store)
    const { held } = await submit()
    const first = await startOne(store, held)
    expect(await startOne(store, held)).toMatchObject({ kind: 'run', claimed: { call: 1 } })
    expect(first).toMatchObject({ kind: 'run', claimed: { call: 1 } })
    expect(await startOne(store, { ...held, token: 'express:another' })).toEqual({ kind: 'done' })
  })

  it('waits in the queue when it has to wait', async () => {
    const store = await openTestStore()
    const { express, submit } = await openExpress(store)
    const { job, held } = await submit()
    const started = await startOne(store, held)
    if (started.kind !== 'run') throw new Error(started.kind)
    expect(await store.work.retry(started.claimed, { ...success, outcome: 'retryable' }, retryNow)).toBe(true)
    await express.delay(held, Date.now())
    await until(async () => (await outboxOf(store)).length === 0)
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id: job.id, call: 2 })
    await complete(store, running)
  })

  it('keeps its followers when it is cancelled in mid-call and its worker dies', async () => {
    const store = await openTestStore()
    const { jobs, express, submit } = await openExpress(store)
    const { job, held } = await submit()
    expect((await startOne(store, held)).kind).toBe('run')
    const body = { model: LANE, messages: [{ role: 'user', content: 'x' }] }
    const [leader] = [await store.jobs.getRequest(TENANT, job.id)]
    const follower = await jobs.create(newJob({ body: leader?.body ?? body }))
    expect(follower).toMatchObject({ kind: 'created', job: { cache: 'shared' } })
    await jobs.cancel(TENANT, job.id)
    await express.renew([held])
    expect(await outboxOf(store)).toEqual([`${job.id}-1`])
    await age(store, held, LEASE_MS + 2_500)
    await store.maintenance.sweep()
    const [entry] = [await store.fetch()]
    expect((await startOne(store, entry)).kind).toBe('done')
    const running = await store.start()
    expect(running.claimed.id).toBe(follower.kind === 'created' ? follower.job.id : '')
  })
})
