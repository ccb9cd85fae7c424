import { describe, expect, it } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import type { QueueEntry } from '../../../jobs/queue-entry.ts'
import { keysOf } from '../../helpers/redis.ts'
import { newJob, openTestStore, TENANT, type TestStore, until } from '../../helpers/store.ts'
import { ended, openWorkshop, submitMany } from './fixture.ts'

const ANY = '"*": {}'
const jobFor = (lane: string, members = {}) =>
  newJob({ lane, model: lane, cache: 'off', ...members }, `to ${lane}`)
const lanesOf = (store: TestStore) => store.redis.smembers(`${store.prefix}:lanes`)
async function keysOfLanes({ redis, prefix }: TestStore): Promise<string[]> {
  const found = await Promise.all([
    keysOf(redis, `${prefix}:{l:sim/many-*`),
    keysOf(redis, `${prefix}:{g:sim}:lane:many-*`),
  ])
  return found.flat()
}

async function countCommands(store: TestStore, ms: number): Promise<number> {
  const read = async () => Number(/total_commands_processed:(\d+)/.exec(await store.redis.info('stats'))![1])
  const before = await read()
  await new Promise((resolve) => setTimeout(resolve, ms))
  return (await read()) - before
}

describe('lanes of models that only "*" covers', () => {
  it('end when their work is done: loops, names and keys, so that the store is as idle as before', async () => {
    const { store, work, errors } = await openWorkshop({
      model: ANY,
      laneIdleMs: 1500,
      limits: '{ max_concurrency: 16, window: 1s }',
      // The check for stalled entries runs this often, and has to end as well.
      store: { own: true, stalledAfterMs: 1500 },
    })
    await work()
    const before = await countCommands(store, 2000)
    const lanes = Array.from({ length: 60 }, (_, index) => `sim/many-${index}`)
    for (const id of await submitMany(
      store,
      lanes.map((lane) => jobFor(lane)),
    )) {
      expect((await ended(store, id)).status).toBe('completed')
    }
    expect((await lanesOf(store)).length).toBeGreaterThan(0)
    await until(async () => (await lanesOf(store)).length === 0, 15_000)
    await until(async () => (await keysOfLanes(store)).length === 0, 5_000)
    // A sweep may still be running.
    await expect.poll(() => countCommands(store, 2000), { timeout: 12_000 }).toBeLessThan(before * 1.1 + 20)
    // Such a lane is used again like a new one.
    const [again] = await submitMany(store, [jobFor('sim/many-7')])
    expect((await ended(store, again!)).status).toBe('completed')
    expect(errors).toEqual([])
  }, 40_000)

  it('leave counts that still matter, with a time to live, and continue them when they are used again', async () => {
    const { store, work, gate, config } = await openWorkshop({
      model: ANY,
      laneIdleMs: 300,
      limits: '{ max_concurrency: 16, requests_per_day: 50 }',
    })
    await work()
    const [id] = await submitMany(store, [jobFor('sim/many-day')])
    await ended(store, id!)
    await until(async () => (await lanesOf(store)).length === 0, 10_000)
    const lane = resolveLane(config, 'sim/many-day')!
    const ttls = async () => Promise.all((await keysOfLanes(store)).map((key) => store.redis.pttl(key)))
    await until(async () => (await ttls()).every((ttl) => ttl > 3_600_000))
    expect((await ttls()).length).toBeGreaterThan(0)
    expect((await gate.read(lane)).usedToday).toBe(1)
    expect((await ttls()).every((ttl) => ttl > 0)).toBe(true)
    await gate.take(lane, [{ cost: { requests: 1, tokens: 1, inputTokens: 1, outputTokens: 0 } }])
    expect((await gate.read(lane)).usedToday).toBe(2)
    expect((await ttls()).every((ttl) => ttl === -1)).toBe(true)
  }, 60_000)

  it('are not started without work', async () => {
    const { store, work } = await openWorkshop({ model: ANY, store: { own: true } })
    const names = Array.from({ length: 500 }, (_, index) => `sim/many-${index}`)
    await store.redis.sadd(`${store.prefix}:lanes`, ...names, 'gone/lane')
    await submitMany(store, [jobFor('sim/many-3', { runAt: Date.now() + 2_000 })])
    await store.outbox.idle()
    await work()
    await until(async () => (await lanesOf(store)).length === 1)
    expect(await lanesOf(store)).toEqual(['sim/many-3'])
    await expect.poll(() => countCommands(store, 1000), { timeout: 12_000 }).toBeLessThan(200)
  }, 60_000)

  it('keep what bounds the events of their queues for as long as they have work, and not a moment longer', async () => {
    const store = await openTestStore()
    const meta = `${store.prefix}:{l:sim/many-x}:calls:meta`
    const [id] = await submitMany(store, [jobFor('sim/many-x')])
    await store.outbox.idle()
    expect(await store.redis.hgetall(meta)).toEqual({ 'opts.maxLenEvents': '1' })
    // A day later it would be gone, and BullMQ would keep ten thousand events.
    expect(await store.redis.pttl(meta)).toBe(-1)
    await store.queues.remove('sim/many-x', id!, 1)
    expect(await store.queues.retire('sim/many-x')).toBe(true)
    expect(await keysOfLanes(store)).toEqual([])
  })

  it('lose no entry that comes while they end', async () => {
    const store = await openTestStore()
    const entryOf = (id: string): QueueEntry => ({
      ...{ tenant: TENANT, id, entry: 1, lane: 'sim/many-x', priority: 'normal', notBefore: null },
      cost: newJob().cost,
    })
    for (let round = 0; round < 100; round++) {
      const [retired] = await Promise.all([
        store.queues.retire('sim/many-x'),
        store.queues.add([entryOf(`job_${round}`)]),
        store.queues.retire('sim/many-x'),
      ])
      expect(typeof retired).toBe('boolean')
      expect(await store.queues.backlog('sim/many-x')).toMatchObject({ waiting: 1 })
      expect(await lanesOf(store)).toEqual(['sim/many-x'])
      expect(await store.queues.retire('sim/many-x')).toBe(false)
      await store.queues.remove('sim/many-x', `job_${round}`, 1)
    }
  })
})
