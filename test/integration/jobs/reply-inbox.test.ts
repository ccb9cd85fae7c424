import { randomUUID } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import type { PubSub } from '../../../jobs/pubsub.ts'
import { createReplyInbox } from '../../../jobs/reply-inbox.ts'
import { renderResult } from '../../../providers/vectors.ts'
import {
  collect,
  complete,
  fail,
  newJob,
  openTestStore,
  read,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

const forever = new AbortController().signal

function openAnswers(store: TestStore) {
  const process = randomUUID()
  const line = { isDead: false }
  const pubsub: PubSub = {
    ...store.pubsub,
    listenBytes: (channel, listener) =>
      store.pubsub.listenBytes(channel, (message) => {
        if (!line.isDead) listener(message)
      }),
  }
  const answers = createReplyInbox({ ...store, pubsub, process, render: renderResult, now: Date.now })
  onTestFinished(() => answers.close())
  const jobs = store.openJobs({ replyInbox: answers })
  async function submit(members: Partial<NewJob> = {}, text?: string): Promise<Job> {
    const outcome = await jobs.create(newJob({ isAwaited: true, ...members }, text))
    if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
    return outcome.job
  }
  /** Loses the messages of this time. */
  async function miss(action: () => Promise<unknown>): Promise<void> {
    line.isDead = true
    await action()
    await store.pubsub.listen(randomUUID(), () => {}) // After all earlier messages.
    line.isDead = false
  }
  return { jobs, submit, miss }
}

describe('the end of an awaited job', () => {
  it('comes with the message, and is the job as it can be read', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const job = await submit({ metadata: { a: 'b' } })
    const waiting = jobs.wait(TENANT, job.id, 5_000)
    await complete(store, await store.start(), { answer: 'é'.repeat(3_000) })
    expect(await waiting).toEqual(await read(store, job.id))
  })

  it('comes for failures, cancellations, and those that share a call', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const failed = await submit({}, 'one')
    await fail(store, await store.start())
    expect(await jobs.wait(TENANT, failed.id, 5_000)).toEqual(await read(store, failed.id))
    const cancelled = await submit({}, 'two')
    await jobs.cancel(TENANT, cancelled.id)
    expect(await jobs.wait(TENANT, cancelled.id, 5_000)).toEqual(await read(store, cancelled.id))
    const leader = await submit({}, 'three')
    const follower = await submit({}, 'three')
    await complete(store, await store.start())
    expect(await jobs.wait(TENANT, follower.id, 5_000)).toEqual(await read(store, follower.id))
    expect(await jobs.wait(TENANT, leader.id, 5_000)).toMatchObject({ status: 'completed', cache: 'miss' })
    expect(await read(store, follower.id)).toMatchObject({ cache: 'shared', cost_usd: 0 })
  })

  it('is read where the result is too long for a message', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const job = await submit()
    const answer = Array.from({ length: 6_000 }, () => randomUUID()).join(' ')
    await complete(store, await store.start(), { answer })
    expect((await jobs.wait(TENANT, job.id, 5_000))?.result).toEqual({ answer })
  })

  it('does not come before the time is up, and not for a job that was deleted', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const job = await submit()
    expect(await jobs.wait(TENANT, job.id, 20)).toMatchObject({ status: 'queued' })
    const waiting = jobs.wait(TENANT, job.id, 5_000)
    await jobs.remove(TENANT, job.id)
    expect(await waiting).toBeNull()
  })

  it('is not missed when the connection breaks at that moment', async () => {
    const store = await openTestStore({ own: true })
    const { jobs, submit, miss } = openAnswers(store)
    const job = await submit()
    const waiting = jobs.wait(TENANT, job.id, 60_000)
    const running = await store.start()
    await miss(() => complete(store, running))
    const since = performance.now()
    await store.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    expect(await waiting).toMatchObject({ id: job.id, status: 'completed' })
    expect(performance.now() - since).toBeLessThan(4_000)
  })
})

describe('the events of an awaited job that is shown as it runs', () => {
  const names = ['job.queued', 'job.started', 'job.delta', 'job.delta', 'job.completed']

  it('come with the messages, as they can be read', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const job = await submit({ isShownLive: true })
    const told = await jobs.follow(TENANT, job.id, '', forever)
    const events = collect(told!.events)
    const running = await store.start()
    await store.work.stream(running.claimed, [{ text: 'a\nb' }])
    await store.work.stream(running.claimed, [{ text: 'ü' }])
    await complete(store, running)
    expect((await events).map(({ event }) => event)).toEqual(names)
    const stored = await store.jobs.follow(TENANT, job.id, '', forever)
    expect(await events).toEqual(await collect(stored!.events))
  })

  it('are complete when some messages were lost', async () => {
    const store = await openTestStore()
    const { jobs, submit, miss } = openAnswers(store)
    const job = await submit({ isShownLive: true })
    const told = await jobs.follow(TENANT, job.id, '', forever)
    const events = collect(told!.events)
    const running = await store.start()
    await miss(() => store.work.stream(running.claimed, [{ text: 'a' }]))
    await store.work.stream(running.claimed, [{ text: 'b' }])
    await complete(store, running)
    expect((await events).map(({ event }) => event)).toEqual(names)
  })

  it('are complete when the connection breaks among them', async () => {
    const store = await openTestStore({ own: true })
    const { jobs, submit, miss } = openAnswers(store)
    const job = await submit({ isShownLive: true })
    const told = await jobs.follow(TENANT, job.id, '', forever)
    const events = collect(told!.events)
    const running = await store.start()
    await store.work.stream(running.claimed, [{ text: 'a' }])
    await store.work.stream(running.claimed, [{ text: 'b' }])
    await miss(() => complete(store, running))
    await store.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    expect((await events).map(({ event }) => event)).toEqual(names)
  })

  it('end with the signal', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const job = await submit({ isShownLive: true })
    const gone = new AbortController()
    const told = await jobs.follow(TENANT, job.id, '', gone.signal)
    const events = collect(told!.events)
    gone.abort()
    expect((await events).length).toBeLessThan(2)
  })
})
