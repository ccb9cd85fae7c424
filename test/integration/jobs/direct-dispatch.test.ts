import { randomUUID } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createDirectDispatch } from '../../../jobs/direct-dispatch.ts'
import { directChannel } from '../../../jobs/keys.ts'
import { createLeases } from '../../../jobs/leases.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import type { Held } from '../../../jobs/queue-entry.ts'
import { createReplyInbox } from '../../../jobs/reply-inbox.ts'
import { renderResult } from '../../../providers/vectors.ts'
import {
  collect,
  complete,
  fail,
  intent,
  LANE,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  retryNow,
  success,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'

const LEASE_MS = 5_000

/** A worker that takes jobs straight from the API, and the API's side of it. */
async function openDirect(store: TestStore) {
  const worker = randomUUID()
  const directDispatch = createDirectDispatch({ ...store, leaseMs: LEASE_MS, worker })
  const came: Held[] = []
  const channel = directChannel(store.prefix, worker)
  const leave = await store.pubsub.listenBytes(channel, (message) =>
    came.push(directDispatch.toHeld(message)),
  )
  onTestFinished(leave)
  const jobs = store.openJobs({ openLanes: { pick: () => ({ name: worker, channel, takesStarted: false }) } })
  async function submit() {
    const outcome = await jobs.create(newJob({ isAwaited: true }, randomUUID()))
    if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
    await until(() => came.some(({ id }) => id === outcome.job.id))
    return { job: outcome.job, held: came.find(({ id }) => id === outcome.job.id)! }
  }
  const leases = createLeases({ ...store, lockMs: LEASE_MS, placeMs: LEASE_MS })
  const renew = ({ tenant, id, entry }: Held) => leases.renewPlaces(tenant, [`${id}-${entry}`])
  return { directDispatch, jobs, leave, renew, submit }
}

/** Moves the job's time in the outbox into the past, as if it had been there for long. */
async function age(store: TestStore, { id, entry }: Held, byMs: number) {
  await store.redis.zincrby(`${store.root}:outbox`, -byMs, `${id}-${entry}`)
}

const outboxOf = (store: TestStore) => store.redis.zrange(`${store.root}:outbox`, '0', '-1')

async function startOne(store: TestStore, held: Held) {
  const [started] = await store.work.start([held], intent)
  return started!
}

describe('a job straight from the API', () => {
  it('is not queued, is claimed by the worker that got its message, and leaves nothing behind', async () => {
    const store = await openTestStore()
    const { renew, submit } = await openDirect(store)
    const { job, held } = await submit()
    expect(held).toMatchObject({ tenant: TENANT, id: job.id, entry: 1, bull: null })
    expect(await queuedEntries(store)).toEqual([])
    const started = await startOne(store, held)
    if (started.kind !== 'run') throw new Error(started.kind)
    const { claimed } = started
    await store.work.complete([{ claimed, end: success, result: { answer: 1 }, usage: null, costUsd: 0 }])
    expect((await read(store, job.id)).result).toEqual({ answer: 1 })
    expect(await outboxOf(store)).toEqual([])
    // A renewal that was under way.
    await renew(held)
    expect(await outboxOf(store)).toEqual([])
  })

  it('goes through the queue when no worker listens', async () => {
    const store = await openTestStore()
    const { jobs, leave } = await openDirect(store)
    leave()
    await store.redis.ping()
    await until(
      async () =>
        ((await store.redis.pubsub('CHANNELS', `${store.prefix}:express:*`)) as string[]).length === 0,
    )
    const outcome = await jobs.create(newJob({ isAwaited: true }))
    if (outcome.kind !== 'created') throw new Error(outcome.kind)
    expect(await queuedEntries(store)).toEqual([`${outcome.job.id}-1`])
  })

  it('is found by the sweeper when the worker that got its message makes no call', async () => {
    const store = await openTestStore()
    const { submit } = await openDirect(store)
    const { job, held } = await submit()
    await age(store, held, 2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([`${job.id}-1`])
  })

  it("is the queue's once the sweeper may have looked, so that no two workers call", async () => {
    const store = await openTestStore()
    const { submit } = await openDirect(store)
    const { held } = await submit()
    await age(store, held, 1_500)
    expect(await startOne(store, held)).toEqual({ kind: 'done' })
    await age(store, held, 1_000)
    await store.maintenance.sweep()
    await complete(store, await store.start())
    expect(await startOne(store, held)).toEqual({ kind: 'done' })
  })

  it('is left alone while its worker lives, and is called again, marked, when it died', async () => {
    const store = await openTestStore()
    const { renew, submit } = await openDirect(store)
    const { job, held } = await submit()
    expect((await startOne(store, held)).kind).toBe('run')
    await age(store, held, 2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([])
    await age(store, held, LEASE_MS)
    await renew(held)
    await age(store, held, 2_500)
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([])
    await age(store, held, LEASE_MS)
    await store.maintenance.sweep()
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id: job.id, call: 2 })
    await complete(store, running)
    const attempts = await store.jobs.attempts(TENANT, job.id)
    expect(attempts).toMatchObject([{ outcome: 'lost', ambiguous: true }, { outcome: 'completed' }])
  })

  it('is not taken from a worker that claims it twice, and not given to two', async () => {
    const store = await openTestStore()
    const { submit } = await openDirect(store)
    const { held } = await submit()
    const first = await startOne(store, held)
    expect(await startOne(store, held)).toMatchObject({ kind: 'run', claimed: { call: 1 } })
    expect(first).toMatchObject({ kind: 'run', claimed: { call: 1 } })
    expect(await startOne(store, { ...held, token: 'express:another' })).toEqual({ kind: 'done' })
  })

  it('waits in the queue when it has to wait', async () => {
    const store = await openTestStore()
    const { directDispatch, submit } = await openDirect(store)
    const { job, held } = await submit()
    const started = await startOne(store, held)
    if (started.kind !== 'run') throw new Error(started.kind)
    expect(await store.work.requeue(started.claimed, { ...success, outcome: 'retryable' }, retryNow)).toBe(
      true,
    )
    await directDispatch.delay(held, Date.now())
    await until(async () => (await outboxOf(store)).length === 0)
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id: job.id, call: 2 })
    await complete(store, running)
  })

  it('keeps its followers when it is cancelled in mid-call and its worker dies', async () => {
    const store = await openTestStore()
    const { jobs, renew, submit } = await openDirect(store)
    const { job, held } = await submit()
    expect((await startOne(store, held)).kind).toBe('run')
    const body = { model: LANE, messages: [{ role: 'user', content: 'x' }] }
    const [leader] = [await store.jobs.getRequest(TENANT, job.id)]
    const follower = await jobs.create(newJob({ body: leader?.body ?? body }))
    expect(follower).toMatchObject({ kind: 'created', job: { cache: 'shared' } })
    await jobs.cancel(TENANT, job.id)
    await renew(held)
    expect(await outboxOf(store)).toEqual([`${job.id}-1`])
    await age(store, held, LEASE_MS + 2_500)
    await store.maintenance.sweep()
    const [entry] = [await store.fetch()]
    expect((await startOne(store, entry)).kind).toBe('done')
    const running = await store.start()
    expect(running.claimed.id).toBe(follower.kind === 'created' ? follower.job.id : '')
  })

  it('keeps its followers when it is deleted in mid-call and its worker dies', async () => {
    const store = await openTestStore()
    const { jobs, submit } = await openDirect(store)
    const { job, held } = await submit()
    expect((await startOne(store, held)).kind).toBe('run')
    const asked = await store.jobs.getRequest(TENANT, job.id)
    const follower = await jobs.create(newJob({ body: asked!.body }))
    await jobs.remove(TENANT, job.id)
    await age(store, held, LEASE_MS + 2_500)
    await store.maintenance.sweep()
    expect((await startOne(store, await store.fetch())).kind).toBe('done')
    const running = await store.start()
    expect(follower).toMatchObject({ kind: 'created', job: { id: running.claimed.id, cache: 'shared' } })
    expect(await store.redis.exists(`${store.root}:job:${job.id}`)).toBe(0)
  })

  it("is the queue's also where its place was renewed after the sweeper looked", async () => {
    const store = await openTestStore()
    const { renew, submit } = await openDirect(store)
    const { job, held } = await submit()
    await store.redis.hincrby(`${store.root}:job:${job.id}`, 'ready_at', -2_500)
    await renew(held)
    expect(await startOne(store, held)).toEqual({ kind: 'done' })
    await store.maintenance.sweep()
    expect(await queuedEntries(store)).toEqual([`${job.id}-1`])
  })

  it('is not ended by the failure of a call from before it was brought back', async () => {
    const store = await openTestStore()
    const { jobs, submit } = await openDirect(store)
    const { job, held } = await submit()
    const started = await startOne(store, held)
    if (started.kind !== 'run') throw new Error(started.kind)
    await jobs.cancel(TENANT, job.id)
    await jobs.retry(TENANT, job.id)
    const error = { code: 'broken', message: 'It broke.', provider_status: null, retryable: true }
    await store.work.fail(started.claimed, { ...success, outcome: 'aborted' }, error, true)
    expect((await read(store, job.id)).status).toBe('queued')
    const running = await store.start()
    expect(running.claimed).toMatchObject({ id: job.id, call: 2 })
    await complete(store, running)
    expect((await read(store, job.id)).status).toBe('completed')
  })
})

describe('a message about a job to a process', () => {
  const forever = new AbortController().signal

  function openAnswers(store: TestStore) {
    const answers = createReplyInbox({ ...store, process: randomUUID(), render: renderResult, now: Date.now })
    onTestFinished(() => answers.close())
    const jobs = store.openJobs({ replyInbox: answers })
    async function submit(members: Partial<NewJob> = {}) {
      const outcome = await jobs.create(newJob({ isAwaited: true, ...members }))
      if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
      return outcome.job
    }
    /** Resolves when all earlier messages were received. */
    const heard = () => store.pubsub.listen(randomUUID(), () => {})
    return { jobs, submit, heard }
  }

  it('reaches no other tenant', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    const job = await submit({ isShownLive: true })
    expect(await jobs.follow('other', job.id, '', forever)).toBeNull()
    const waiting = jobs.wait('other', job.id, 5_000)
    await complete(store, await store.start())
    expect(await waiting).toBeNull()
  })

  it('is not believed once the job was brought back', async () => {
    const store = await openTestStore()
    const { jobs, submit, heard } = openAnswers(store)
    for (const isShownLive of [false, true]) {
      const job = await submit({ isShownLive, cache: 'off' })
      await jobs.wait(TENANT, job.id, 5_000, AbortSignal.abort())
      await fail(store, await store.start())
      await heard()
      await jobs.retry(TENANT, job.id)
      const waiting = jobs.wait(TENANT, job.id, 5_000)
      const following = await jobs.follow(TENANT, job.id, '', forever)
      await complete(store, await store.start())
      expect(await waiting).toMatchObject({ status: 'completed' })
      expect((await collect(following!.events)).at(-1)?.event).toBe('job.completed')
    }
  })

  it('is not shown of a job that was deleted since', async () => {
    const store = await openTestStore()
    const { jobs, submit, heard } = openAnswers(store)
    const job = await submit()
    await complete(store, await store.start())
    await heard()
    await jobs.remove(TENANT, job.id)
    await heard()
    expect(await jobs.wait(TENANT, job.id, 50)).toBeNull()
  })

  it('is shown to all followers, as it happens', async () => {
    const store = await openTestStore()
    const { jobs, submit } = openAnswers(store)
    for (const isShownLive of [false, true]) {
      const job = await submit({ isShownLive, cache: 'off' })
      const follow = async () => (await jobs.follow(TENANT, job.id, '', forever))!.events
      const first = collect(await follow())
      const second = (await follow())[Symbol.asyncIterator]()
      expect((await second.next()).value).toMatchObject({ event: 'job.queued' })
      const running = await store.start()
      await store.work.stream(running.claimed, [{ text: 'a' }])
      await complete(store, running)
      const rest = await collect({ [Symbol.asyncIterator]: () => second })
      const names = ['job.started', 'job.delta', 'job.completed']
      expect(rest.map(({ event }) => event)).toEqual(names)
      expect((await first).map(({ event }) => event)).toEqual(['job.queued', ...names])
    }
  })
})
