import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { NewJob } from '../../../jobs/new-job.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  complete,
  eventsOf,
  intent,
  newJob,
  openTestStore,
  read,
  statusesOf,
  submit,
  success,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'

/** An answer of 1.6 MB that no compression makes much smaller. */
const large = () => ({ answer: randomBytes(1_200_000).toString('base64') })

async function usedMemory({ redis }: TestStore): Promise<number> {
  return Number(
    /^used_memory:(\d+)/m.exec(
      await (redis as never as { info(what: string): Promise<string> }).info('memory'),
    )![1],
  )
}

const answerKeys = async (store: TestStore) =>
  (await keysOf(store.redis, `${store.root}:answer:*`)).map((key) =>
    key.slice(`${store.root}:answer:`.length),
  )

/** Ends the retention of these jobs. */
async function retire(store: TestStore, ...ids: string[]): Promise<void> {
  for (const id of ids) await store.redis.zadd(`${store.root}:expiry`, 1, id)
  expect(await store.retention.run()).toBe(ids.length)
}

/**
 * Durations of scripts since the last call, ms, sorted; only of those that took at least a tenth of a millisecond.
 */
async function scriptTimes({ redis }: TestStore): Promise<number[]> {
  const log = (await redis.call('SLOWLOG', 'GET', '-1')) as [
    id: number,
    at: number,
    micros: number,
    args: string[],
  ][]
  await redis.call('SLOWLOG', 'RESET')
  const scripts = log.filter(([, , , [name]]) => name!.startsWith('eval'))
  return scripts.map(([, , micros]) => micros / 1000).sort((one, other) => one - other)
}

describe('a large answer', () => {
  it('is stored once for all its followers, and no script holds Redis for long', async () => {
    const store = await openTestStore({ own: true, cacheMaxBytes: 10_000_000 })
    const followers = 2000
    await store.jobs.createMany(Array.from({ length: followers + 1 }, () => newJob()))
    const running = await store.start()
    await store.redis.call('CONFIG', 'SET', 'slowlog-log-slower-than', '100')
    await store.redis.call('CONFIG', 'SET', 'slowlog-max-len', '1000')
    await scriptTimes(store)
    const before = await usedMemory(store)
    const answer = large()
    await complete(store, running, answer)
    const times = await scriptTimes(store)
    expect(times.length).toBeGreaterThanOrEqual(20)
    // Not the longest: if the processor is busy with other work, one of them may be held up.
    expect(times[Math.floor(times.length * 0.5)]).toBeLessThan(10)
    expect((await usedMemory(store)) - before).toBeLessThan(10_000_000)
    const ids = await store.redis.zrange(`${store.root}:status:completed`, '0', '-1')
    expect(ids).toHaveLength(followers + 1)
    for (const id of [ids[0]!, ids.at(-1)!]) expect((await read(store, id)).result).toEqual(answer)
    expect(await answerKeys(store)).toHaveLength(1)
  })

  it('is shared with no more followers a script where several leaders end at once', async () => {
    const store = await openTestStore({ own: true })
    const texts = Array.from({ length: 5 }, (_, number) => `content ${number}`)
    for (const text of texts) {
      await store.jobs.createMany(Array.from({ length: 101 }, () => newJob({}, text)))
    }
    const held = []
    while (held.length < texts.length) held.push(...(await store.lane().fetch(10)))
    const started = await store.work.start(held, intent)
    const completions = started.map((one, at) => {
      if (one.kind !== 'run') throw new Error(one.kind)
      return { claimed: one.claimed, end: success, result: { answer: at }, usage: null, costUsd: 0 }
    })
    const dying = store.openWork({
      scripts: {
        ...store.scripts,
        run: (name, root, args) =>
          name === 'finish' ? store.scripts.run(name, root, args) : Promise.reject(new Error('died')),
      },
    })
    await expect(dying.complete(completions)).rejects.toThrow('died')
    expect(await store.redis.zcard(`${store.root}:status:completed`)).toBe(105)
    await store.maintenance.sweep()
    expect(await store.redis.zcard(`${store.root}:status:completed`)).toBe(505)
    for (const key of await answerKeys(store)) {
      expect(await store.redis.hget(`${store.root}:answer:${key}`, 'holders')).toBe('101')
    }
  })

  it('does not fill the memory when it is given for nothing: other tenants are admitted', async () => {
    const store = await openTestStore({ own: true, cacheMaxBytes: 10_000_000 })
    await submit(store)
    const answer = large()
    await complete(store, await store.start(), answer)
    const used = await usedMemory(store)
    await store.redis.call('CONFIG', 'SET', 'maxmemory', Math.round((used + 20_000_000) / 0.7))
    const hits = await Promise.all(Array.from({ length: 50 }, () => submit(store)))
    expect(hits.every(({ result }) => result?.answer === answer.answer)).toBe(true)
    expect((await usedMemory(store)) - used).toBeLessThan(1_000_000)
    await new Promise((resolve) => setTimeout(resolve, 1100)) // The memory is checked every second.
    expect((await submit(store, { tenant: 'other' })).status).toBe('queued')
  })

  it('serves the followers of a leader that was cancelled in mid-call, once for all of them', async () => {
    const store = await openTestStore({ cacheTtlMs: 0 })
    const outcomes = await store.jobs.createMany(Array.from({ length: 251 }, () => newJob()))
    const { claimed, held } = await store.start()
    await store.jobs.cancel(TENANT, claimed.id)
    const answer = { answer: 'x'.repeat(100_000) }
    await complete(store, { claimed, held }, answer)
    const ids = outcomes.map((one) => (one as { id: string }).id).filter((id) => id !== claimed.id)
    expect(new Set(await statusesOf(store, ids))).toEqual(new Set(['completed']))
    expect((await read(store, ids.at(-1)!)).result).toEqual(answer)
    const [key] = await answerKeys(store)
    expect(await store.redis.hget(`${store.root}:answer:${key}`, 'holders')).toBe('250')
  })
})

describe('an answer', () => {
  it('exists until the last job that has it is gone, whether it is cached or not', async () => {
    const store = await openTestStore({ cacheTtlMs: 300 })
    const leader = await submit(store)
    const follower = await submit(store)
    await complete(store, await store.start(), { answer: 1 })
    const hit = await submit(store)
    expect(hit.cache).toBe('hit')
    await retire(store, leader.id)
    await store.jobs.remove(TENANT, follower.id)
    await until(async () => (await submit(store)).status === 'queued')
    expect((await read(store, hit.id)).result).toEqual({ answer: 1 })
    await retire(store, hit.id)
    expect(await answerKeys(store)).toEqual([])
  })

  it('stays for equal jobs when the job that bought it is gone', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start(), { answer: 1 })
    await retire(store, job.id)
    const hit = await submit(store)
    expect(hit).toMatchObject({ cache: 'hit', result: { answer: 1 } })
    expect(await read(store, hit.id)).toEqual(hit)
    const [key] = await answerKeys(store)
    expect(await store.redis.pttl(`${store.root}:answer:${key}`)).toBe(-1)
  })

  it('that a newer one replaces stays with the jobs that have it', async () => {
    const store = await openTestStore()
    const old = await submit(store)
    await complete(store, await store.start(), { answer: 'old' })
    const oldHit = await submit(store)
    const refresh = await submit(store, { cache: 'refresh' })
    await complete(store, await store.start(), { answer: 'new' })
    const hit = await submit(store)
    const results = async () =>
      Promise.all([old, oldHit, refresh, hit].map(async ({ id }) => (await read(store, id)).result!.answer))
    expect(await results()).toEqual(['old', 'old', 'new', 'new'])
    const listed = await store.jobs.list(TENANT, {}, 10, { withResults: true })
    const byId = new Map(listed.data.map(({ id, result }) => [id, result!.answer]))
    expect([old, oldHit, refresh, hit].map(({ id }) => byId.get(id))).toEqual(['old', 'old', 'new', 'new'])
    expect(await answerKeys(store)).toHaveLength(2)
    await retire(store, old.id, oldHit.id)
    expect(await answerKeys(store)).toHaveLength(1)
    expect((await read(store, hit.id)).result).toEqual({ answer: 'new' })
  })

  it('that one job deletes is given to no further job, and stays with the others that have it', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start(), { answer: 1 })
    const hit = await submit(store)
    await store.jobs.remove(TENANT, job.id)
    expect((await submit(store)).status).toBe('queued')
    expect((await read(store, hit.id)).result).toEqual({ answer: 1 })
    await store.jobs.remove(TENANT, hit.id)
    expect(await answerKeys(store)).toEqual([])
  })

  it('is in the record if no other job may have it', async () => {
    const store = await openTestStore()
    const job = await submit(store, { cache: 'off' })
    await complete(store, await store.start(), { answer: 1 })
    expect(await answerKeys(store)).toEqual([])
    expect((await read(store, job.id)).result).toEqual({ answer: 1 })
  })
})

describe('data of an earlier release', () => {
  const usage = JSON.stringify({ input_tokens: 7, output_tokens: 5, total_tokens: 12 })

  /** As finish.lua did it: the answer is in each record and among the kept ones. */
  async function completeAsBefore(
    store: TestStore,
    id: string,
    answer: object,
    members: Partial<NewJob> = {},
  ) {
    const { redis, root } = store
    const key = `${root}:job:${id}`
    const hash = (await redis.hget(key, 'hash'))!
    const result = store.atRest.sealResult(root, id, hash, answer as never)
    const now = Date.now()
    await redis.hset(key, {
      status: 'completed',
      finished_at: now,
      result,
      usage,
      cost_usd: '0.5',
      attempts: 1,
    })
    await redis.hdel(key, 'leader')
    const created = await redis.hget(key, 'created_at')
    for (const status of ['queued', 'running']) await redis.zrem(`${root}:status:${status}`, id)
    await redis.zadd(`${root}:status:completed`, created!, id)
    await redis.zadd(`${root}:expiry`, now + 60_000, id)
    await redis.rpush(`${key}:events`, `{"event":"job.completed","at":${now}}`)
    await redis.zrem(`${root}:outbox`, `${id}-1`)
    if (members.cache === 'off') return
    await redis.hset(`${root}:cache:${hash}`, { result, usage })
    await redis.pexpire(`${root}:cache:${hash}`, 60_000)
  }

  it('is read: an ended job, alone, in lists, and by its events', async () => {
    const store = await openTestStore()
    const { id } = await submit(store)
    await completeAsBefore(store, id, { answer: 'before' })
    expect(await read(store, id)).toMatchObject({ status: 'completed', result: { answer: 'before' } })
    const { data } = await store.jobs.list(TENANT, {}, 10, { withResults: true })
    expect(data.map(({ result }) => result)).toEqual([{ answer: 'before' }])
    expect(await eventsOf(store, id)).toEqual(['job.queued', 'job.completed'])
    await retire(store, id)
    expect(await store.jobs.get(TENANT, id)).toBeNull()
  })

  it('is given to equal jobs for as long as it would have been kept, at no cost', async () => {
    const store = await openTestStore()
    const { id } = await submit(store)
    await completeAsBefore(store, id, { answer: 'before' })
    await store.redis.del(`${store.root}:flight:${await store.redis.hget(`${store.root}:job:${id}`, 'hash')}`)
    const hits = [await submit(store), await submit(store)]
    for (const hit of hits)
      expect(hit).toMatchObject({ cache: 'hit', result: { answer: 'before' }, cost_usd: 0 })
    const [key] = await answerKeys(store)
    const left = Number(await store.redis.hget(`${store.root}:answer:${key}`, 'until')) - Date.now()
    expect(left).toBeGreaterThan(50_000)
    expect(left).toBeLessThanOrEqual(60_000)
    await store.jobs.remove(TENANT, id)
    expect((await submit(store)).status).toBe('queued')
    expect((await read(store, hits[1]!.id)).result).toEqual({ answer: 'before' })
  })

  it('is deleted with its job', async () => {
    const store = await openTestStore()
    const { id } = await submit(store)
    await completeAsBefore(store, id, { answer: 'before' })
    await store.jobs.remove(TENANT, id)
    expect(await keysOf(store.redis, `${store.root}:cache:*`)).toEqual([])
  })

  it('is finished: an open job with followers, and a leader that had ended before its followers', async () => {
    const store = await openTestStore()
    const leader = await submit(store)
    const followers = [await submit(store), await submit(store)]
    const { claimed } = await store.start()
    await completeAsBefore(store, leader.id, { answer: 'before' })
    await store.redis.sadd(`${store.root}:draining`, leader.id)
    await store.maintenance.sweep()
    for (const { id } of [leader, ...followers]) {
      expect(await read(store, id)).toMatchObject({ status: 'completed', result: { answer: 'before' } })
    }
    expect(await answerKeys(store)).toHaveLength(1)
    // A worker of that release wrote its result to its disk, and this one stores it.
    const one = { claimed, end: success, result: { answer: 'late' }, usage: null, costUsd: 0 }
    await store.work.restore(store.work.encode([one]))
    expect((await read(store, leader.id)).result).toEqual({ answer: 'before' })
  })
})
