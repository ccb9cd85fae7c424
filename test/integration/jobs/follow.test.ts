import { describe, expect, it } from 'vitest'
import type { JobEvent } from '../../../jobs/job.ts'
import {
  collect,
  complete,
  fail,
  newJob,
  openTestStore,
  read,
  submit,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

const forever = new AbortController().signal

async function follow(store: TestStore, id: string, cursor = '', signal = forever) {
  const following = await store.jobs.follow(TENANT, id, cursor, signal)
  if (!following) throw new Error('there is nothing to follow')
  return following
}

async function followGroup(store: TestStore, group: string, cursor = '', signal = forever) {
  const following = await store.jobs.followGroup(TENANT, group, cursor, signal)
  if (!following) throw new Error('there is nothing to follow')
  return following
}

const names = (events: JobEvent[]) => events.map((event) => event.event)

describe('following a job', () => {
  it('replays what has happened, and ends after the terminal event with the whole job', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start(), { answer: 42 })
    const following = await follow(store, job.id)
    expect(following.finished).toBe(false)
    const events = await collect(following.events)
    expect(names(events)).toEqual(['job.queued', 'job.started', 'job.completed'])
    expect(events.map((event) => event.data.seq)).toEqual([1, 2, 3])
    expect(events.at(-1)!.data.job).toEqual(await read(store, job.id))
  })

  it('goes on live, chunk by chunk, to the end', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { events } = await follow(store, job.id)
    const iterator = events[Symbol.asyncIterator]()
    const next = async () => (await iterator.next()).value as JobEvent
    expect((await next()).event).toBe('job.queued')
    const running = await store.start()
    expect(await next()).toMatchObject({ event: 'job.started', data: { attempt: 1 } })
    await store.work.stream(running.claimed, [{ text: 'a' }, { text: 'b' }])
    expect((await next()).data).toMatchObject({ chunk: { text: 'a' }, attempt: 1 })
    expect((await next()).data).toMatchObject({ chunk: { text: 'b' } })
    await complete(store, running)
    expect((await next()).event).toBe('job.completed')
    expect((await iterator.next()).done).toBe(true)
  })

  it('goes on after the last event that the subscriber saw', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start())
    const all = await collect((await follow(store, job.id)).events)
    for (const [index, event] of all.slice(0, -1).entries()) {
      const rest = await collect((await follow(store, job.id, event.cursor)).events)
      expect(rest).toEqual(all.slice(index + 1))
    }
  })

  it('has nothing more for a subscriber that saw the end', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await complete(store, await store.start())
    const events = await collect((await follow(store, job.id)).events)
    const again = await follow(store, job.id, events.at(-1)!.cursor)
    expect(again.finished).toBe(true)
    expect(await collect(again.events)).toEqual([])
  })

  it('ends for a subscriber whose cursor is beyond what there is', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const following = await follow(store, job.id, '999')
    const events = collect(following.events)
    await complete(store, await store.start())
    expect(names(await events).at(-1)).toBe('job.completed')
    expect((await follow(store, job.id, '999')).finished).toBe(true)
  })

  it('treats an invalid cursor as the beginning', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await store.jobs.cancel(TENANT, job.id)
    expect(names(await collect((await follow(store, job.id, 'what?')).events))).toHaveLength(2)
  })

  it('reads on when there are more events than it reads at once', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const running = await store.start()
    const chunks = Array.from({ length: 1200 }, (_, at) => ({ at }))
    for (let at = 0; at < 1200; at += 200)
      await store.work.stream(running.claimed, chunks.slice(at, at + 200))
    await complete(store, running)
    const events = await collect((await follow(store, job.id)).events)
    expect(events.map((event) => event.data.seq)).toEqual(Array.from({ length: 1203 }, (_, at) => at + 1))
  })

  it('ends with a page of events that is exactly full', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const running = await store.start()
    await store.work.stream(running.claimed, Array(497).fill({ a: 1 }))
    await complete(store, running)
    expect(await collect((await follow(store, job.id)).events)).toHaveLength(500)
  })

  it('goes on past an end that a retry has overtaken', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await fail(store, await store.start())
    await store.jobs.retry(TENANT, job.id)
    const following = await follow(store, job.id, '3')
    expect(following.finished).toBe(false)
    const events = collect(following.events)
    await complete(store, await store.start())
    expect(names(await events)).toEqual(['job.queued', 'job.started', 'job.completed'])
    const all = await collect((await follow(store, job.id)).events)
    expect(all[2]!.data.job).toMatchObject({ status: 'failed', error: { code: 'broken' }, result: null })
    expect(all[5]!.data.job).toMatchObject({ status: 'completed' })
  })

  it('stops when the subscriber goes', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const subscriber = new AbortController()
    const { events } = await follow(store, job.id, '', subscriber.signal)
    const seen: string[] = []
    for await (const event of events) {
      seen.push(event.event)
      subscriber.abort()
    }
    expect(seen).toEqual(['job.queued'])
  })

  it('ends when the job is deleted', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { events } = await follow(store, job.id)
    const all = collect(events)
    await store.jobs.remove(TENANT, job.id)
    expect(names(await all).filter((name) => name !== 'job.queued')).toEqual([])
    expect(await store.jobs.follow(TENANT, job.id, '', forever)).toBeNull()
  })

  it('ends when a leader is deleted whose call goes on for others', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await submit(store)
    await store.start()
    const { events } = await follow(store, job.id, '2')
    const all = collect(events)
    await store.jobs.remove(TENANT, job.id)
    expect(await all).toEqual([])
  })

  it('serves many subscribers at once, each from its own cursor', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const running = await store.start()
    const followings = await Promise.all(['', '1', '2', ''].map((cursor) => follow(store, job.id, cursor)))
    const all = followings.map((following) => collect(following.events))
    await complete(store, running)
    expect((await Promise.all(all)).map((events) => events.length)).toEqual([3, 2, 1, 3])
  })
})

describe('waiting for a job', () => {
  it('answers when the job ends', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const waiting = store.jobs.wait(TENANT, job.id, 5000)
    await complete(store, await store.start())
    expect(await waiting).toMatchObject({ status: 'completed' })
  })

  it('answers with the current job when the time is up', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    expect(await store.jobs.wait(TENANT, job.id, 30)).toMatchObject({ status: 'queued' })
  })

  it('answers at once for a job that has ended, and for none', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await store.jobs.cancel(TENANT, job.id)
    expect(await store.jobs.wait(TENANT, job.id, 60_000)).toMatchObject({ status: 'cancelled' })
    expect(await store.jobs.wait(TENANT, 'job_none', 60_000)).toBeNull()
  })

  it('gives up when the caller goes, and when it had gone before', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const caller = new AbortController()
    const waiting = store.jobs.wait(TENANT, job.id, 60_000, caller.signal)
    caller.abort()
    expect(await waiting).toMatchObject({ status: 'queued' })
    expect(await store.jobs.wait(TENANT, job.id, 60_000, AbortSignal.abort())).toMatchObject({
      status: 'queued',
    })
  })

  it('answers with nothing when the job is deleted', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const waiting = store.jobs.wait(TENANT, job.id, 5000)
    await store.jobs.remove(TENANT, job.id)
    expect(await waiting).toBeNull()
  })
})

describe('following a group', () => {
  it('shows the events of all its jobs, each in its order, and ends when all have ended', async () => {
    const store = await openTestStore()
    const a = await submit(store, { group: 'g' }, 'a')
    const b = await submit(store, { group: 'g' }, 'b')
    await submit(store, { group: 'other' }, 'c')
    const { events } = await followGroup(store, 'g')
    const all = collect(events)
    for (let left = 3; left > 0; left--) await complete(store, await store.start())
    const seen = await all
    for (const job of [a, b]) {
      const own = seen.filter((event) => event.data.job_id === job.id)
      expect(own.map((event) => event.data.seq)).toEqual([1, 2, 3])
      expect(own.at(-1)!.data.job).toEqual(await read(store, job.id))
    }
    expect(seen).toHaveLength(6)
  })

  it('goes on after a cursor, and has nothing more at the last one', async () => {
    const store = await openTestStore()
    await store.jobs.createMany([newJob({ group: 'g' }, 'a'), newJob({ group: 'g' }, 'b')])
    for (let left = 2; left > 0; left--) await complete(store, await store.start())
    const all = await collect((await followGroup(store, 'g')).events)
    const rest = await collect((await followGroup(store, 'g', all[2]!.cursor)).events)
    expect(rest).toEqual(all.slice(3))
    expect(await followGroup(store, 'g', all.at(-1)!.cursor)).toMatchObject({ finished: true })
  })

  it('waits for jobs that are retried', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'g' })
    await fail(store, await store.start())
    const before = await collect((await followGroup(store, 'g')).events)
    await store.jobs.retry(TENANT, job.id)
    const following = await followGroup(store, 'g', before.at(-1)!.cursor)
    expect(following.finished).toBe(false)
    const rest = collect(following.events)
    await complete(store, await store.start())
    expect(names(await rest)).toEqual(['job.queued', 'job.started', 'job.completed'])
  })

  it('skips a job that was deleted since', async () => {
    const store = await openTestStore()
    const a = await submit(store, { group: 'g' }, 'a')
    const b = await submit(store, { group: 'g' }, 'b')
    for (let left = 2; left > 0; left--) await complete(store, await store.start())
    await store.jobs.remove(TENANT, a.id)
    const events = await collect((await followGroup(store, 'g')).events)
    expect(new Set(events.map((event) => event.data.job_id))).toEqual(new Set([b.id]))
  })

  it('breaks off at an event that cannot be read, rather than skip it', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'g' })
    await complete(store, await store.start())
    const key = `${store.root}:job:${job.id}:events`
    await store.redis.rename(key, `${key}:aside`)
    // Makes the list unreadable.
    await store.redis.set(key, 'no list')
    await expect(collect((await followGroup(store, 'g')).events)).rejects.toThrow('WRONGTYPE')
  })

  it('ends when its last open job is deleted', async () => {
    const store = await openTestStore()
    const a = await submit(store, { group: 'g' }, 'a')
    const b = await submit(store, { group: 'g' }, 'b')
    await store.jobs.cancel(TENANT, b.id)
    const iterator = (await followGroup(store, 'g')).events[Symbol.asyncIterator]()
    for (let left = 3; left > 0; left--) await iterator.next()
    const last = iterator.next()
    await store.jobs.remove(TENANT, a.id)
    expect((await last).done).toBe(true)
  })

  it('knows no group without jobs', async () => {
    const store = await openTestStore()
    expect(await store.jobs.followGroup(TENANT, 'none', '', forever)).toBeNull()
  })
})
