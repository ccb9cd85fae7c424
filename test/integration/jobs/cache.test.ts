import { describe, expect, it } from 'vitest'
import {
  complete,
  eventsOf,
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

  it('keeps the way a result is rendered', async () => {
    const store = await openTestStore()
    await submit(store)
    const { held, claimed } = await store.start()
    const end = { outcome: 'completed', latency_ms: 1 } as const
    const vector = Buffer.from(new Float32Array([0.5, -2]).buffer).toString('base64')
    const result = { object: 'list', data: [{ object: 'embedding', index: 0, embedding: vector }] }
    await store.work.complete([{ claimed, end, result, format: 'float', usage: null, costUsd: 0 }])
    await store.lane().acknowledge(held)
    const shown = { data: [{ embedding: [0.5, -2] }] }
    expect((await submit(store)).result).toMatchObject(shown)
    expect((await read(store, held.id)).result).toMatchObject(shown)
  })

  it('is passed over by a job that wants it off, which leaves nothing in it either', async () => {
    const store = await openTestStore()
    const off = await submit(store, { cache: 'off' })
    expect(off.cache).toBe('off')
    await complete(store, await store.start())
    expect((await submit(store)).status).toBe('queued')
  })

  it('is filled anew by a job that wants it refreshed', async () => {
    const store = await openTestStore()
    await submit(store)
    await complete(store, await store.start(), { answer: 'old' })
    const refresh = await submit(store, { cache: 'refresh' })
    expect(refresh).toMatchObject({ status: 'queued', cache: 'miss' })
    await complete(store, await store.start(), { answer: 'new' })
    expect((await submit(store)).result).toEqual({ answer: 'new' })
  })

  it('forgets an answer when its time is over', async () => {
    const store = await openTestStore({ cacheTtlMs: 80 })
    await submit(store)
    await complete(store, await store.start())
    expect((await submit(store)).status).toBe('completed')
    await expect.poll(async () => (await store.redis.keys(`${store.root}:cache:*`)).length).toBe(0)
    expect((await submit(store)).status).toBe('queued')
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

  it('tells models, types and bodies apart', async () => {
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
    // Whoever is fetched now finds the answer in the cache.
    for (let left = 2; left > 0; left--) {
      const [held] = await store.lane().fetch(1)
      if (!held) break
      expect(await store.work.start([held], { provider: 'sim', model: 'chat', coalesced: 1, waitedFor: null })).toEqual([
        { kind: 'done' },
      ])
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
    const later = await submit(store, { runAt: Date.now() + 50 })
    await submit(store, { cache: 'refresh', priority: 'high' })
    const refreshing = await store.start()
    await complete(store, refreshing, { answer: 'fresh' })
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
