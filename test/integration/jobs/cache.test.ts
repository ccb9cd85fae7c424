import { describe, expect, it } from 'vitest'
import type { NewJob } from '../../../jobs/new-job.ts'
import { keepMaintained } from '../../helpers/maintainer.ts'
import {
  complete,
  eventsOf,
  LANE,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  statusesOf,
  submit,
} from '../../helpers/store.ts'

describe('the result cache', () => {
  it('answers a job at its birth, at no cost', async () => {
    const store = await openTestStore()
    await submit(store)
    await complete(store, await store.start(), { answer: 42 })
    const hit = await submit(store)
    expect(hit).toMatchObject({
      status: 'completed',
      cache: 'hit',
      result: { answer: 42 },
      usage: { total_tokens: 12 },
      cost_usd: 0,
      attempts: 0,
    })
    expect(await read(store, hit.id)).toEqual(hit)
    expect(await eventsOf(store, hit.id)).toEqual(['job.queued', 'job.completed'])
    expect(await queuedEntries(store)).toEqual([])
  })

  it('writes a job that it answers once, as a completed one', async () => {
    const store = await openTestStore({ own: true })
    await submit(store)
    await complete(store, await store.start())
    await submit(store) // Loads the script.
    await store.redis.config('RESETSTAT')
    const hit = await submit(store)
    const stats = await store.redis.info('commandstats')
    const callsOf = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
    const writes = ['hset', 'hdel', 'hincrby', 'rpush', 'zadd', 'zrem', 'xadd', 'publish']
    expect(Object.fromEntries(writes.map((name) => [name, callsOf(name)]))).toEqual({
      hset: 1, // The record.
      hdel: 0,
      hincrby: 1, // One more holder of the answer.
      rpush: 1, // Both events.
      zadd: 3, // the tenant's jobs, those completed, and when it is forgotten
      zrem: 0,
      xadd: 1,
      publish: 0,
    })
    const fields = await store.redis.hkeys(`${store.root}:job:${hit.id}`)
    expect(fields).not.toEqual(expect.arrayContaining(['cost']))
    expect(fields).not.toEqual(expect.arrayContaining(['cache_mode']))
  })

  it('gives every job the vectors in the format of its own body, also when jobs share them', async () => {
    const store = await openTestStore()
    const embedding = (encoding_format?: string): Partial<NewJob> => ({
      type: 'embedding',
      body: { model: LANE, input: 'hi', ...(encoding_format === undefined ? {} : { encoding_format }) },
    })
    const leader = await submit(store, embedding('base64'))
    const follower = await submit(store, embedding())
    expect(follower.cache).toBe('shared')
    const packed = Buffer.from(new Float32Array([0.5, -2]).buffer).toString('base64')
    const result = { object: 'list', data: [{ object: 'embedding', index: 0, embedding: packed }] }
    await complete(store, await store.start(), result)
    const cached = [await submit(store, embedding('float')), await submit(store, embedding('base64'))]
    expect(cached.map((job) => job.cache)).toEqual(['hit', 'hit'])
    const shown = [
      await read(store, leader.id),
      await read(store, follower.id),
      ...cached,
      await read(store, cached[0]!.id),
    ]
    const vectors = shown.map((job) => (job.result as typeof result).data[0]!.embedding)
    expect(vectors).toEqual([packed, [0.5, -2], [0.5, -2], packed, [0.5, -2]])
  })

  it('is skipped by a job that wants it off, which leaves nothing in it either', async () => {
    const store = await openTestStore()
    const off = await submit(store, { cache: 'off' })
    expect(off.cache).toBe('off')
    await complete(store, await store.start())
    expect((await submit(store)).status).toBe('queued')
  })

  it('is filled again by a job that wants it refreshed', async () => {
    const store = await openTestStore()
    await submit(store)
    await complete(store, await store.start(), { answer: 'old' })
    const refresh = await submit(store, { cache: 'refresh' })
    expect(refresh).toMatchObject({ status: 'queued', cache: 'miss' })
    await complete(store, await store.start(), { answer: 'new' })
    expect((await submit(store)).result).toEqual({ answer: 'new' })
  })

  it('drops an answer when it expires', async () => {
    const store = await openTestStore({ cacheTtlMs: 300 })
    await submit(store)
    await complete(store, await store.start())
    expect((await submit(store)).status).toBe('completed')
    await expect.poll(async () => (await submit(store)).status).toBe('queued')
  })

  it('does not keep an answer over its size', async () => {
    const store = await openTestStore({ cacheMaxBytes: 100 })
    await submit(store)
    await complete(store, await store.start(), { answer: 'x'.repeat(101) })
    expect((await submit(store)).status).toBe('queued')
  })

  it('belongs to its tenant', async () => {
    const store = await openTestStore()
    await submit(store)
    await complete(store, await store.start())
    expect((await submit(store, { tenant: 'other' })).status).toBe('queued')
  })

  it('distinguishes models, types and bodies', async () => {
    const store = await openTestStore()
    await submit(store)
    await complete(store, await store.start())
    const others = [
      await submit(store, { model: 'fast' }),
      await submit(store, { type: 'response' }),
      await submit(store, {}, 'other'),
    ]
    expect(others.map((job) => job.status)).toEqual(['queued', 'queued', 'queued'])
  })

  it('serves a job that waits when a refreshed answer comes, and those that follow it', async () => {
    const store = await openTestStore()
    const refresh = await submit(store, { cache: 'refresh', priority: 'high' })
    const running = await store.start()
    expect(running.held.id).toBe(refresh.id)
    await store.jobs.cancel('acme', refresh.id)
    // The flight is free: these lead and follow by themselves, and wait.
    const leader = await submit(store)
    const follower = await submit(store)
    expect(follower.cache).toBe('shared')
    const second = await submit(store, { cache: 'refresh', priority: 'high' })
    const refreshing = await store.start()
    expect(refreshing.held.id).toBe(second.id)
    await complete(store, refreshing, { answer: 'fresh' })
    // A job that is fetched now finds the answer in the cache.
    for (let left = 2; left > 0; left--) {
      const [held] = await store.lane().fetch(1)
      if (!held) break
      expect(
        await store.work.start([held], { provider: 'sim', model: 'chat', coalesced: 1, waitedFor: null }),
      ).toEqual([{ kind: 'done' }])
      await store.lane().acknowledge(held)
      await store.outbox.idle()
    }
    expect(await statusesOf(store, [leader.id, follower.id])).toEqual(['completed', 'completed'])
    expect((await read(store, leader.id)).result).toEqual({ answer: 'fresh' })
  })

  it('does not take the flight from a running leader when it serves another job of the same content', async () => {
    const store = await openTestStore()
    const leader = await submit(store)
    const running = await store.start()
    expect(running.held.id).toBe(leader.id)
    const follower = await submit(store)
    // One for later, which is due when the answer of a refresh is in the cache and the leader still runs.
    const later = await submit(store, { runAt: Date.now() + 250 })
    await submit(store, { cache: 'refresh', priority: 'high' })
    const refreshing = await store.start()
    await complete(store, refreshing, { answer: 'fresh' })
    keepMaintained(store)
    const due = await store.fetch()
    expect(due.id).toBe(later.id)
    await store.work.start([due], { provider: 'sim', model: 'chat', coalesced: 1, waitedFor: null })
    await store.lane().acknowledge(due)
    expect((await read(store, later.id)).status).toBe('completed')
    expect(await queuedEntries(store)).toEqual([])
    await complete(store, running, { answer: 'led' })
    expect((await read(store, follower.id)).result).toEqual({ answer: 'led' })
  })

  it('is written once for a race of equal jobs', async () => {
    const store = await openTestStore()
    const outcomes = await store.jobs.createMany(Array.from({ length: 20 }, () => newJob()))
    expect(outcomes.every((outcome) => outcome.kind === 'created')).toBe(true)
    expect(await queuedEntries(store)).toHaveLength(1)
  })
})
