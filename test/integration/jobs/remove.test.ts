import { describe, expect, it } from 'vitest'
import { abortChannel } from '../../../jobs/keys.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  complete,
  fail,
  failure,
  intent,
  LANE,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  retryNow,
  startAgain,
  statusesOf,
  submit,
  success,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

const CANARY = 'canary-7f3a'
const webhook = { url: `https://receiver.example/${CANARY}`, events: ['job.completed' as const] }

/** A job with the canary at every place where a client can put one. */
const traced = { metadata: { note: CANARY }, group: `group-${CANARY}`, webhook }

/**
 * What is left in the store, without the ids in BullMQ's log of its latest hundred steps and in the references to
 * events: both expire.
 */
async function dumpWithoutLog(store: TestStore): Promise<string> {
  const lines = (await store.dump()).split('\n')
  return lines.filter((line) => !/(?::calls:events|\}:events(?::deltas)?) /.test(line)).join('\n')
}

describe('deleting a job', () => {
  it('leaves nothing of a completed job in the store', async () => {
    const store = await openTestStore()
    const job = await submit(store, { ...traced, idempotencyKey: `key-1` }, CANARY)
    const running = await store.start()
    await store.work.stream(running.claimed, [{ delta: CANARY }])
    await complete(store, running, { answer: CANARY })
    expect(await store.dump()).toContain(CANARY)
    expect(await store.jobs.remove(TENANT, job.id)).toBe(true)
    const left = await store.dump()
    expect(left).not.toContain(CANARY)
    expect(await store.jobs.get(TENANT, job.id)).toBeNull()
    expect(await store.jobs.remove(TENANT, job.id)).toBe(false)
  })

  it('leaves nothing of a job that waits', async () => {
    const store = await openTestStore()
    const job = await submit(store, { ...traced, deadline: Date.now() + 60_000 }, CANARY)
    await queuedEntries(store)
    await store.jobs.remove(TENANT, job.id)
    await expect.poll(() => dumpWithoutLog(store)).not.toContain(job.id)
    expect(await store.dump()).not.toContain(CANARY)
  })

  it('leaves nothing of a job that failed', async () => {
    const store = await openTestStore()
    const job = await submit(store, traced, CANARY)
    await fail(store, await store.start())
    await store.jobs.remove(TENANT, job.id)
    expect(await store.dump()).not.toContain(CANARY)
  })

  it('aborts the call of a running job, whose result is then not stored', async () => {
    const store = await openTestStore()
    const aborts: string[] = []
    await store.pubsub.listen(abortChannel(store.prefix), (message) => aborts.push(message))
    const job = await submit(store, traced, CANARY)
    const running = await store.start()
    await store.jobs.remove(TENANT, job.id)
    await expect.poll(() => aborts).toEqual([`${TENANT} ${job.id}`])
    // The abort came too late.
    expect(await store.work.stream(running.claimed, [{ delta: CANARY }])).toBe(false)
    await complete(store, running, { answer: CANARY })
    const left = await store.dump()
    expect(left).not.toContain(CANARY)
    expect(await dumpWithoutLog(store)).not.toContain(job.id)
  })

  it('of a running job without followers leaves nothing when the call fails', async () => {
    const store = await openTestStore()
    const job = await submit(store, traced, CANARY)
    const { held, claimed } = await store.start()
    await store.jobs.remove(TENANT, job.id)
    expect(await store.work.requeue(claimed, failure, retryNow)).toBe(false)
    await store.lane().acknowledge(held)
    expect(await dumpWithoutLog(store)).not.toContain(job.id)
  })

  it('of a running leader serves its followers, and leaves nothing of it after that', async () => {
    const store = await openTestStore()
    const leader = await submit(store, traced, 'shared prompt')
    const follower = await submit(store, {}, 'shared prompt')
    const running = await store.start()
    await store.jobs.remove(TENANT, leader.id)
    expect(await store.jobs.get(TENANT, leader.id)).toBeNull()
    expect(await store.jobs.attempts(TENANT, leader.id)).toBeNull()
    expect(await store.jobs.remove(TENANT, leader.id)).toBe(false)
    expect(await store.jobs.cancel(TENANT, leader.id)).toBeNull()
    expect(await store.jobs.retry(TENANT, leader.id)).toBeNull()
    expect((await store.jobs.list(TENANT, {}, 10)).data.map((job) => job.id)).toEqual([follower.id])
    expect(await store.dump()).not.toContain(CANARY)
    const late = await submit(store, {}, 'shared prompt')
    expect(late.cache).toBe('shared')
    await complete(store, running, { answer: 42 })
    expect(await statusesOf(store, [follower.id, late.id])).toEqual(['completed', 'completed'])
    expect(await dumpWithoutLog(store)).not.toContain(leader.id)
  })

  it('of a running leader makes a follower lead when its worker dies', async () => {
    const store = await openTestStore({ stalledAfterMs: 450 })
    const leader = await submit(store)
    const follower = await submit(store)
    await store.start()
    await store.jobs.remove(TENANT, leader.id)
    const again = await store.fetch()
    // While its worker holds it the call goes on, and no other worker may buy the answer.
    await store.redis.zadd(`${store.root}:outbox`, Date.now() + 60_000, `${leader.id}-1`)
    expect(await store.work.start([again], intent)).toEqual([{ kind: 'done' }])
    expect(await store.queues.backlog(LANE)).toMatchObject({ waiting: 0 })
    expect(await startAgain(store, again, 'another')).toEqual({ kind: 'done' })
    await store.lane().acknowledge(again)
    const promoted = await store.start()
    expect(promoted.held.id).toBe(follower.id)
    await complete(store, promoted)
    expect(await dumpWithoutLog(store)).not.toContain(leader.id)
  })

  it('of a leader that waits makes a follower lead', async () => {
    const store = await openTestStore()
    const leader = await submit(store)
    const follower = await submit(store)
    await queuedEntries(store)
    await store.jobs.remove(TENANT, leader.id)
    const promoted = await store.start()
    expect(promoted.held.id).toBe(follower.id)
  })

  it('of a follower leaves the others alone', async () => {
    const store = await openTestStore()
    const leader = await submit(store)
    const follower = await submit(store)
    const last = await submit(store)
    await store.jobs.remove(TENANT, follower.id)
    await complete(store, await store.start())
    expect(await statusesOf(store, [leader.id, last.id])).toEqual(['completed', 'completed'])
  })

  it('takes its answer out of the cache', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start())
    await store.jobs.remove(TENANT, job.id)
    expect((await submit(store)).status).toBe('queued')
  })

  it('takes the job out of its group, whose last job takes the group along', async () => {
    const store = await openTestStore()
    const [a, b] = [await submit(store, { group: 'g' }, 'a'), await submit(store, { group: 'g' }, 'b')]
    await store.jobs.remove(TENANT, a.id)
    expect(await store.jobs.group(TENANT, 'g')).toMatchObject({ total: 1, counts: { queued: 1 } })
    await store.jobs.remove(TENANT, b.id)
    expect(await store.jobs.group(TENANT, 'g')).toBeNull()
  })

  it('counts a job of the same name as new in the group', async () => {
    const store = await openTestStore()
    const outcomes = await store.jobs.createMany([newJob({ group: 'g' }, 'a'), newJob({ group: 'g' }, 'b')])
    for (const outcome of outcomes) await store.jobs.remove(TENANT, (outcome as { id: string }).id)
    const job = await submit(store, { group: 'g' }, 'c')
    expect(await store.jobs.group(TENANT, 'g')).toMatchObject({ total: 1, counts: { queued: 1 } })
    expect((await read(store, job.id)).group).toBe('g')
  })

  it('keeps a result that came from an earlier call apart from a job that is gone', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { claimed } = await store.start()
    await store.jobs.remove(TENANT, job.id)
    await store.work.complete([{ claimed, end: success, result: { a: 1 }, usage: null, costUsd: 0.5 }])
    expect(await keysOf(store.redis, `${store.root}:job:${job.id}*`)).toEqual([])
    expect(await store.redis.zcard(`${store.root}:status:completed`)).toBe(0)
  })
})
