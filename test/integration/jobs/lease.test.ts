import { expect, it } from 'vitest'
import { createDirectDispatch } from '../../../jobs/direct-dispatch.ts'
import { placeLease } from '../../../jobs/leases.ts'
import {
  failure,
  intent,
  LANE,
  loseLease,
  openTestStore,
  queuedEntries,
  read,
  retryNow,
  submit,
  TENANT,
  until,
} from '../../helpers/store.ts'

it('a claimed job leaves the queue at once, and only its place in the outbox holds it', async () => {
  const store = await openTestStore()
  const job = await submit(store)
  const { held } = await store.start()
  const placed = store.lane().claimed(held)
  expect(placed).toMatchObject({ id: job.id, bull: null, placed: { lane: LANE } })
  await until(async () => (await queuedEntries(store)).length === 0)
  const [seconds] = await store.redis.time()
  const end = Number(await store.redis.zscore(`${store.root}:outbox`, `${job.id}-1`))
  expect(end - Number(seconds) * 1000).toBeGreaterThan(placeLease(15_000) - 2000)
  // A sweep at this time leaves it alone.
  expect(await store.outbox.sweep(TENANT, 0)).toBe(0)
})

it('an entry that comes again while its worker holds the job is stale, and loses no job', async () => {
  const store = await openTestStore()
  const job = await submit(store)
  const { held } = await store.start()
  // As if the worker dies between the claim and the acknowledgement, or its lock has ended: the queue hands it out
  // again.
  expect(await store.work.start([{ ...held, token: 'of-another' }], intent)).toEqual([{ kind: 'done' }])
  expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([{ outcome: 'running' }])
})

it('a job whose worker is gone is found in the outbox, queued, and called again', async () => {
  const store = await openTestStore()
  const job = await submit(store)
  const { held } = await store.start()
  store.lane().claimed(held)
  await until(async () => (await queuedEntries(store)).length === 0)
  await loseLease(store, held)
  expect(await store.outbox.sweep(TENANT, 0)).toBe(1)
  const again = await store.start()
  expect(again.claimed).toMatchObject({ id: job.id, call: 2 })
  expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([
    { outcome: 'lost' },
    { outcome: 'running' },
  ])
})

it('a queued entry is removed from the outbox, but not one that was claimed since', async () => {
  const store = await openTestStore()
  const ids = [await submit(store), await submit(store, {}, 'another')].map(({ id }) => `${id}-1`)
  await until(async () => (await store.redis.exists(`${store.root}:outbox`)) === 0)
  const [seconds] = await store.redis.time()
  await store.redis.zadd(`${store.root}:outbox`, 1, ids[0]!, (Number(seconds) + 60) * 1000, ids[1]!)
  expect(await store.scripts.run('queued', store.root, ids)).toBe(1)
  expect(await store.redis.zrange(`${store.root}:outbox`, '0', '-1')).toEqual([ids[1]])
})

it('a job that is tried again keeps its turn, and is in the outbox until it is queued', async () => {
  const store = await openTestStore()
  const directDispatch = createDirectDispatch({
    outbox: store.outbox,
    leaseMs: placeLease(15_000),
    worker: 'w',
  })
  const job = await submit(store)
  const { held, claimed } = await store.start()
  const turn = (held.bull!.data as { start: number }).start
  const placed = store.lane().claimed(held)
  for (let other = 0; other < 5; other++) await submit(store, {}, `other ${other}`)
  expect(await store.work.requeue(claimed, failure, retryNow)).toBe(true)
  // Its worker may die here: a sweeper finds it.
  expect(await store.redis.zscore(`${store.root}:outbox`, `${job.id}-1`)).not.toBeNull()
  await directDispatch.delay(placed, 0)
  expect(await store.queues.starts(LANE, [{ id: job.id, entry: 1 }])).toEqual([{ start: turn }])
  await until(async () => (await store.redis.zscore(`${store.root}:outbox`, `${job.id}-1`)) === null)
  expect((await read(store, job.id)).status).toBe('queued')
})
