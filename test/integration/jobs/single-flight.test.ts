import { describe, expect, it } from 'vitest'
import type { Claimed } from '../../../jobs/claim.ts'
import { abortChannel } from '../../../jobs/keys.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  complete,
  eventsOf,
  fail,
  failure,
  intent,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  retryNow,
  statusesOf,
  submit,
  success,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

/** The requested aborts from now on. */
async function hearAborts(store: TestStore): Promise<string[]> {
  const heard: string[] = []
  await store.pubsub.listen(abortChannel(store.prefix), (message) => heard.push(message))
  return heard
}

/** One leader and so many followers, ids in the order in which they are served. */
async function submitSame(store: TestStore, followers: number): Promise<string[]> {
  const outcomes = await store.jobs.createMany(Array.from({ length: followers + 1 }, () => newJob()))
  const [leader] = outcomes.map((outcome) => (outcome as { id: string }).id)
  const waiting = await store.redis.zrange(
    (await keysOf(store.redis, `${store.root}:followers:*`))[0]!,
    '0',
    '-1',
  )
  expect(waiting).toHaveLength(followers)
  return [leader!, ...waiting]
}

/** Stores a result, and dies after the first script call that ends followers. */
async function completeAndDie(store: TestStore, claimed: Claimed): Promise<void> {
  const dying = store.openWork({
    scripts: {
      ...store.scripts,
      run: (name, root, args) =>
        name === 'finish-followers' ? Promise.reject(new Error('died')) : store.scripts.run(name, root, args),
    },
  })
  const completion = { claimed, end: success, result: { answer: 1 }, usage: null, costUsd: 0 }
  await expect(dying.complete([completion])).rejects.toThrow('died')
}

describe('jobs of the same content', () => {
  it('wait for one call, and complete with its result', async () => {
    const store = await openTestStore()
    const [leader, ...followers] = await submitSame(store, 3)
    expect(await queuedEntries(store)).toEqual([`${leader}-1`])
    await complete(store, await store.start(), { answer: 42 })
    expect(await read(store, leader!)).toMatchObject({ cache: 'miss', cost_usd: 0.5, attempts: 1 })
    for (const id of followers) {
      expect(await read(store, id)).toMatchObject({
        status: 'completed',
        cache: 'shared',
        result: { answer: 42 },
        usage: { total_tokens: 12 },
        cost_usd: 0,
        attempts: 0,
      })
      expect(await eventsOf(store, id)).toEqual(['job.queued', 'job.completed'])
    }
    expect(await store.jobs.attempts(TENANT, followers[0]!)).toEqual([])
  })

  it('join a call that runs already', async () => {
    const store = await openTestStore()
    await submit(store)
    const running = await store.start()
    const late = await submit(store)
    expect(late.cache).toBe('shared')
    await complete(store, running)
    expect((await read(store, late.id)).status).toBe('completed')
  })

  it('fail together when the provider refuses their request', async () => {
    const store = await openTestStore()
    const ids = await submitSame(store, 2)
    await fail(store, await store.start())
    expect(await statusesOf(store, ids)).toEqual(['failed', 'failed', 'failed'])
    expect((await read(store, ids[2]!)).error).toMatchObject({ code: 'broken' })
  })

  it('go on without a leader whose failure is its own', async () => {
    const store = await openTestStore()
    const [leader, next, last] = await submitSame(store, 2)
    await fail(store, await store.start(), true)
    expect(await statusesOf(store, [leader!, next!, last!])).toEqual(['failed', 'queued', 'queued'])
    const promoted = await store.start()
    expect(promoted.held.id).toBe(next)
    await complete(store, promoted)
    expect((await read(store, last!)).status).toBe('completed')
  })

  it('are all served when there are more than one script call takes', async () => {
    const store = await openTestStore()
    const ids = await submitSame(store, 1300)
    await complete(store, await store.start())
    expect((await store.jobs.list(TENANT, { status: 'completed' }, 1000)).hasMore).toBe(true)
    expect(new Set(await statusesOf(store, ids))).toEqual(new Set(['completed']))
    expect(await store.redis.exists(`${store.root}:draining`)).toBe(0)
    expect(await keysOf(store.redis, `${store.root}:f*:*`)).toEqual([])
  })

  it('are served by the sweeper when the worker died between two of those calls', async () => {
    const store = await openTestStore()
    const ids = await submitSame(store, 1300)
    const { claimed } = await store.start()
    await completeAndDie(store, claimed)
    expect(await store.redis.zcard(`${store.root}:status:queued`)).toBe(1200)
    await store.maintenance.sweep()
    expect(new Set(await statusesOf(store, ids))).toEqual(new Set(['completed']))
  })

  it('do not wait for ever when the leader is deleted while it is being drained', async () => {
    const store = await openTestStore()
    const [leader, ...followers] = await submitSame(store, 600)
    const { claimed } = await store.start()
    await completeAndDie(store, claimed)
    await store.jobs.remove(TENANT, leader!)
    await store.maintenance.sweep()
    const [held] = await store.lane().fetch(1)
    if (held) {
      const [started] = await store.work.start([held], intent)
      if (started?.kind === 'run') await complete(store, { held, claimed: started.claimed })
    }
    expect(new Set(await statusesOf(store, followers))).toEqual(new Set(['completed']))
  })
})

describe('cancelling one of several jobs of the same content', () => {
  it('makes the oldest follower lead when the leader still waits', async () => {
    const store = await openTestStore()
    const [leader, next, last] = await submitSame(store, 2)
    await queuedEntries(store)
    const answer = await store.jobs.cancel(TENANT, leader!)
    expect(answer).toMatchObject({ kind: 'cancelled', job: { status: 'cancelled' } })
    await expect.poll(() => queuedEntries(store)).toEqual([`${next}-1`])
    expect((await read(store, next!)).cache).toBe('miss')
    await complete(store, await store.start())
    expect(await statusesOf(store, [leader!, next!, last!])).toEqual(['cancelled', 'completed', 'completed'])
  })

  it('takes a follower out and leaves the others', async () => {
    const store = await openTestStore()
    const [leader, out, last] = await submitSame(store, 2)
    await store.jobs.cancel(TENANT, out!)
    await complete(store, await store.start())
    expect(await statusesOf(store, [leader!, out!, last!])).toEqual(['completed', 'cancelled', 'completed'])
    expect(await eventsOf(store, out!)).toEqual(['job.queued', 'job.cancelled'])
  })

  it('lets the call of a running leader go on for its followers', async () => {
    const store = await openTestStore()
    const aborts = await hearAborts(store)
    const [leader, next] = await submitSame(store, 1)
    const running = await store.start()
    await store.jobs.cancel(TENANT, leader!)
    const late = await submit(store)
    expect(late.cache).toBe('shared')
    await complete(store, running, { answer: 42 })
    expect(await statusesOf(store, [leader!, next!, late.id])).toEqual([
      'cancelled',
      'completed',
      'completed',
    ])
    expect((await read(store, leader!)).result).toBeNull()
    expect(await eventsOf(store, leader!)).toEqual(['job.queued', 'job.started', 'job.cancelled'])
    expect(aborts).toEqual([])
    // The answer is paid for, so it may serve again.
    expect((await submit(store)).cache).toBe('hit')
  })

  it('lets the stream of a running leader go on for its followers, and sends the leader nothing', async () => {
    const store = await openTestStore()
    const [leader] = await submitSame(store, 1)
    const { claimed } = await store.start()
    await store.jobs.cancel(TENANT, leader!)
    expect(await store.work.stream(claimed, [{ piece: 1 }])).toBe(true)
    expect(await eventsOf(store, leader!)).toEqual(['job.queued', 'job.started', 'job.cancelled'])
  })

  it('serves all followers of a cancelled leader with its one call, however many there are', async () => {
    const store = await openTestStore({ cacheMaxBytes: 0 })
    const [leader, ...followers] = await submitSame(store, 1300)
    const running = await store.start()
    await store.jobs.cancel(TENANT, leader!)
    await complete(store, running, { answer: 42 })
    await store.maintenance.sweep()
    expect(new Set(await statusesOf(store, followers))).toEqual(new Set(['completed']))
    expect(await queuedEntries(store)).toEqual([])
    expect((await read(store, leader!)).status).toBe('cancelled')
  })

  it('aborts the call of a running job that nobody else waits for', async () => {
    const store = await openTestStore()
    const aborts = await hearAborts(store)
    const job = await submit(store)
    const { claimed, held } = await store.start()
    await store.jobs.cancel(TENANT, job.id)
    await expect.poll(() => aborts).toEqual([`${TENANT} ${job.id}`])
    expect(await store.work.stream(claimed, [{ piece: 1 }])).toBe(false)
    // The aborted call reports, and changes nothing any more.
    expect(await store.work.requeue(claimed, { ...failure, outcome: 'aborted' }, retryNow)).toBe(false)
    await store.lane().acknowledge(held)
    expect((await read(store, job.id)).status).toBe('cancelled')
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started', 'job.cancelled'])
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([{ outcome: 'aborted' }])
  })

  it('aborts the call when the followers are cancelled first and the leader last', async () => {
    const store = await openTestStore()
    const aborts = await hearAborts(store)
    const [leader, follower] = await submitSame(store, 1)
    await store.start()
    await store.jobs.cancel(TENANT, follower!)
    await store.jobs.cancel(TENANT, leader!)
    await expect.poll(() => aborts).toEqual([`${TENANT} ${leader}`])
  })

  it('makes a follower lead when the worker of a cancelled leader dies', async () => {
    const store = await openTestStore({ stalledAfterMs: 450 })
    const [leader, next] = await submitSame(store, 1)
    await store.start()
    await store.jobs.cancel(TENANT, leader!)
    // Nobody renews the lock of the call: its entry comes again.
    const again = await store.fetch()
    expect(again.id).toBe(leader)
    expect(await store.work.start([again], intent)).toEqual([{ kind: 'done' }])
    await store.lane().acknowledge(again)
    const promoted = await store.start()
    expect(promoted.held.id).toBe(next)
    await complete(store, promoted)
    expect((await read(store, next!)).status).toBe('completed')
  })

  it('makes a follower lead when the leader is cancelled while its entry waits for another worker', async () => {
    const store = await openTestStore({ stalledAfterMs: 450 })
    const [leader, next] = await submitSame(store, 1)
    await store.start()
    // The worker is gone and the stalled check has put the entry back, but nobody has taken it yet.
    await expect.poll(() => queuedEntries(store), { timeout: 20_000 }).toEqual([`${leader}-1`])
    await store.jobs.cancel(TENANT, leader!)
    const again = await store.fetch()
    expect(await store.work.start([again], intent)).toEqual([{ kind: 'done' }])
    await store.lane().acknowledge(again)
    const promoted = await store.start()
    expect(promoted.held.id).toBe(next)
  })

  it('makes a follower lead when the call of a cancelled leader fails', async () => {
    const store = await openTestStore()
    const [leader, next] = await submitSame(store, 1)
    const { held, claimed } = await store.start()
    await store.jobs.cancel(TENANT, leader!)
    expect(await store.work.requeue(claimed, failure, retryNow)).toBe(false)
    await store.lane().acknowledge(held)
    const promoted = await store.start()
    expect(promoted.held.id).toBe(next)
  })

  it('returns the call to a cancelled leader that is retried while it runs', async () => {
    const store = await openTestStore()
    const [leader, follower] = await submitSame(store, 1)
    const running = await store.start()
    await store.jobs.cancel(TENANT, leader!)
    expect(await store.jobs.retry(TENANT, leader!)).toMatchObject({
      kind: 'retried',
      job: { status: 'running' },
    })
    await complete(store, running)
    expect(await statusesOf(store, [leader!, follower!])).toEqual(['completed', 'completed'])
    expect(await queuedEntries(store)).toEqual([])
  })

  it('answers terminal for a job that has ended', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start())
    expect(await store.jobs.cancel(TENANT, job.id)).toMatchObject({
      kind: 'terminal',
      job: { status: 'completed' },
    })
    expect(await store.jobs.cancel(TENANT, 'job_none')).toBeNull()
  })
})

describe('jobs that share no answers', () => {
  it('each make a call of their own with the cache off', async () => {
    const store = await openTestStore()
    await store.jobs.createMany([newJob({ cache: 'off' }), newJob({ cache: 'off' }), newJob()])
    expect(await queuedEntries(store)).toHaveLength(3)
  })

  it('do not follow with refresh, but may be followed', async () => {
    const store = await openTestStore()
    const refresh = await submit(store, { cache: 'refresh' })
    const refresh2 = await submit(store, { cache: 'refresh' })
    const use = await submit(store)
    expect(use.cache).toBe('shared')
    expect(await queuedEntries(store)).toHaveLength(2)
    const one = await store.start()
    const two = await store.start()
    await complete(store, one)
    await complete(store, two)
    expect(await statusesOf(store, [refresh.id, refresh2.id, use.id])).toEqual([
      'completed',
      'completed',
      'completed',
    ])
  })

  it('recognizes a result that came too late for a cancelled job', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { held, claimed } = await store.start()
    await store.jobs.cancel(TENANT, job.id)
    await store.work.complete([{ claimed, end: success, result: { answer: 1 }, usage: null, costUsd: 1 }])
    await store.lane().acknowledge(held)
    expect(await read(store, job.id)).toMatchObject({ status: 'cancelled', result: null })
    // Its cost is not lost.
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([{ outcome: 'completed', cost_usd: 0.5 }])
  })
})
