import { describe, expect, it } from 'vitest'
import type { JobFilter } from '../../../jobs/jobs.ts'
import { createJobIds } from '../../../lib/job-id.ts'
import { complete, fail, newJob, openTestStore, submit, TENANT, type TestStore } from '../../helpers/store.ts'

/** Walks all pages and answers the ids in their order. */
async function walk(store: TestStore, filter: JobFilter, limit: number): Promise<string[]> {
  const ids: string[] = []
  let after: string | undefined
  for (;;) {
    const page = await store.jobs.list(TENANT, filter, limit, { after })
    ids.push(...page.data.map((job) => job.id))
    expect(page.data.length).toBeLessThanOrEqual(limit)
    if (!page.hasMore) return ids
    expect(page.data).toHaveLength(limit)
    after = ids.at(-1)
  }
}

async function createMany(store: TestStore, count: number, members = {}): Promise<string[]> {
  const outcomes = await store.jobs.createMany(
    Array.from({ length: count }, (_, index) => newJob({ cache: 'off', ...members }, `job ${index}`)),
  )
  return outcomes.map((outcome) => (outcome as { id: string }).id)
}

describe('the list of jobs', () => {
  it('has the newest first', async () => {
    const store = await openTestStore()
    const ids: string[] = []
    for (let index = 0; index < 5; index++) {
      ids.push((await submit(store, {}, `job ${index}`)).id)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const page = await store.jobs.list(TENANT, {}, 10)
    expect(page.data.map((job) => job.id)).toEqual(ids.reverse())
    expect(page.hasMore).toBe(false)
  })

  it('has every job once over its pages, however many were created in one millisecond', async () => {
    const store = await openTestStore()
    const ids = await createMany(store, 700)
    for (const limit of [1000, 700, 699, 64]) {
      const walked = await walk(store, {}, limit)
      expect(walked).toHaveLength(700)
      expect(new Set(walked)).toEqual(new Set(ids))
    }
    const scores = await store.redis.zrange(`${store.root}:jobs`, '0', '-1', 'WITHSCORES')
    const births = scores.filter((_, index) => index % 2 === 1)
    expect(new Set(births).size).toBeLessThan(700)
  })

  it('accepts filters of status, type, group and lane, one by one and together', async () => {
    const store = await openTestStore()
    await submit(store, { group: 'a' }, 'one')
    await complete(store, await store.start())
    await submit(store, { group: 'a' }, 'two')
    await fail(store, await store.start())
    await submit(store, { group: 'b', type: 'response' }, 'three')
    await submit(store, { group: 'a', lane: 'sim/other' }, 'four')
    const count = async (filter: JobFilter) => (await store.jobs.list(TENANT, filter, 10)).data.length
    expect(await count({})).toBe(4)
    expect(await count({ status: 'completed' })).toBe(1)
    expect(await count({ status: 'queued' })).toBe(2)
    expect(await count({ group: 'a' })).toBe(3)
    expect(await count({ type: 'response' })).toBe(1)
    expect(await count({ lane: 'sim/other' })).toBe(1)
    expect(await count({ group: 'a', status: 'queued' })).toBe(1)
    expect(await count({ group: 'a', status: 'queued', lane: 'sim/chat' })).toBe(0)
    expect(await count({ group: 'none' })).toBe(0)
  })

  it('pages through what a filter leaves', async () => {
    const store = await openTestStore()
    await createMany(store, 300, { type: 'response' })
    const chats = await createMany(store, 30)
    await createMany(store, 300, { type: 'response' })
    const walked = await walk(store, { type: 'chat' }, 7)
    expect(walked.sort()).toEqual(chats.sort())
    expect(await walk(store, { type: 'chat', status: 'failed' }, 7)).toEqual([])
  })

  it('says that there is no more when the page is exactly full', async () => {
    const store = await openTestStore()
    await createMany(store, 3)
    expect((await store.jobs.list(TENANT, {}, 3)).hasMore).toBe(false)
    expect((await store.jobs.list(TENANT, {}, 2)).hasMore).toBe(true)
  })

  it('is empty after a job that does not exist', async () => {
    const store = await openTestStore()
    await createMany(store, 3)
    expect(await store.jobs.list(TENANT, {}, 3, { after: 'job_none' })).toMatchObject({
      data: [],
      hasMore: false,
    })
  })

  it('does not show the remains of a deleted leader', async () => {
    const store = await openTestStore()
    const leader = await submit(store)
    const follower = await submit(store)
    await store.start()
    await store.jobs.remove(TENANT, leader.id)
    const { data } = await store.jobs.list(TENANT, {}, 10)
    expect(data.map((job) => job.id)).toEqual([follower.id])
  })
})

describe('a group', () => {
  it('counts its jobs by status, and what they cost', async () => {
    const store = await openTestStore()
    await submit(store, { group: 'g' }, 'one')
    await complete(store, await store.start())
    await submit(store, { group: 'g' }, 'two')
    await complete(store, await store.start())
    await submit(store, { group: 'g' }, 'two')
    await submit(store, { group: 'g' }, 'three')
    await fail(store, await store.start())
    await submit(store, { group: 'g', runAt: Date.now() + 60_000 }, 'four')
    const cancelled = await submit(store, { group: 'g' }, 'five')
    await store.jobs.cancel(TENANT, cancelled.id)
    await submit(store, { group: 'g' }, 'six')
    await store.start()
    await submit(store, { group: 'g' }, 'seven')
    expect(await store.jobs.group(TENANT, 'g')).toMatchObject({
      group: 'g',
      total: 8,
      counts: { scheduled: 1, queued: 1, running: 1, completed: 3, failed: 1, cancelled: 1 },
      cost_usd: 1,
    })
  })

  it('is unknown without jobs', async () => {
    const store = await openTestStore()
    expect(await store.jobs.group(TENANT, 'none')).toBeNull()
  })

  it('goes on behind a job that was deleted since, with every filter', async () => {
    const store = await openTestStore()
    const newId = createJobIds(Date.now)
    const made = Array.from({ length: 60 }, (_, index) =>
      newJob({ cache: 'off', group: 'nightly' }, `job ${index}`),
    )
    await store.openJobs({ newId }).createMany(made)
    for (const filter of [{}, { group: 'nightly' }, { status: 'queued' as const }, { lane: 'sim/chat' }]) {
      const order = await walk(store, filter, 100)
      for (const place of [order.length - 1, order.length - 2, 20, 1, 0]) {
        const cursor = order[place]!
        await store.jobs.remove(TENANT, cursor)
        const { data, hasMore } = await store.jobs.list(TENANT, filter, 10, { after: cursor })
        order.splice(place, 1)
        expect(data.map(({ id }) => id)).toEqual(order.slice(place, place + 10))
        expect(hasMore).toBe(order.length > place + 10)
      }
    }
  })

  it('goes on behind a deleted job of a process whose clock is an hour ahead', async () => {
    const store = await openTestStore()
    const jobs = store.openJobs({ newId: createJobIds(() => Date.now() + 3_600_000) })
    const ids: string[] = []
    for (let index = 0; index < 9; index++) {
      const outcome = await jobs.create(newJob({ cache: 'off' }, `job ${index}`))
      if (outcome.kind === 'created') ids.unshift(outcome.job.id)
    }
    await store.jobs.remove(TENANT, ids[4]!)
    const page = await store.jobs.list(TENANT, {}, 2, { after: ids[4] })
    expect(page.data.map(({ id }) => id)).toEqual([ids[5], ids[6]])
    expect(page.hasMore).toBe(true)
  })
})
