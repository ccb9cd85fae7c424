import { describe, expect, it } from 'vitest'
import {
  complete,
  eventsOf,
  fail,
  intent,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  submit,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

async function submitFailed(store: TestStore, members: Parameters<typeof submit>[1], text: string) {
  const job = await submit(store, members, text)
  await store.outbox.idle()
  await fail(store, await store.start())
  return job
}

describe('retrying a job by hand', () => {
  it('queues a failed job again, with fresh attempts and without its error', async () => {
    const store = await openTestStore()
    const job = await submitFailed(store, { group: 'nightly' }, 'a')
    const answer = await store.jobs.retry(TENANT, job.id)
    expect(answer).toMatchObject({
      kind: 'retried',
      job: { status: 'queued', attempts: 0, error: null, finished_at: null },
    })
    const again = await store.start()
    expect(again.held.entry).toBe(2)
    expect(again.claimed).toMatchObject({ call: 2, attempts: 1 })
    await complete(store, again)
    expect(await store.jobs.group(TENANT, 'nightly')).toMatchObject({
      total: 1,
      counts: { completed: 1, failed: 0, queued: 0, running: 0 },
    })
    expect(await eventsOf(store, job.id)).toEqual([
      'job.queued',
      'job.started',
      'job.failed',
      'job.queued',
      'job.started',
      'job.completed',
    ])
  })

  it('queues a cancelled job again', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    await store.jobs.cancel(TENANT, job.id)
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({ kind: 'retried' })
    await complete(store, await store.start())
    expect((await read(store, job.id)).status).toBe('completed')
  })

  it('skips an entry from before, without a call', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const old = await store.fetch()
    await store.jobs.cancel(TENANT, job.id)
    await store.jobs.retry(TENANT, job.id)
    expect(await store.work.start([old], intent)).toEqual([{ kind: 'done' }])
    await store.lane().acknowledge(old)
    expect((await read(store, job.id)).status).toBe('queued')
    expect((await store.start()).held).toMatchObject({ id: job.id, entry: 2 })
  })

  it('refuses a job that is open or completed, and one that does not exist', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({ kind: 'not_retryable' })
    await complete(store, await store.start())
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({ kind: 'not_retryable' })
    expect(await store.jobs.retry(TENANT, 'job_none')).toBeNull()
  })

  it('answers from the cache when the answer has come in between', async () => {
    const store = await openTestStore()
    const job = await submitFailed(store, {}, 'a')
    await submit(store, {}, 'a')
    await complete(store, await store.start(), { answer: 42 })
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({
      kind: 'retried',
      job: { status: 'completed', cache: 'hit', result: { answer: 42 } },
    })
  })

  it('joins a call that is under way', async () => {
    const store = await openTestStore()
    const job = await submitFailed(store, {}, 'a')
    await submit(store, {}, 'a')
    const running = await store.start()
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({
      job: { status: 'queued', cache: 'shared' },
    })
    await complete(store, running)
    expect(await read(store, job.id)).toMatchObject({ status: 'completed', cost_usd: 0 })
  })

  it('is no longer bound by the deadline that has passed', async () => {
    const store = await openTestStore()
    const job = await submit(store, { deadline: Date.now() + 30 })
    await expect
      .poll(async () => {
        await store.maintenance.sweep()
        return (await read(store, job.id)).status
      })
      .toBe('failed')
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({
      job: { status: 'queued', deadline: null },
    })
  })

  it('keeps a retried job from the retention of its first end', async () => {
    const store = await openTestStore({ retainMs: 1 })
    const job = await submitFailed(store, {}, 'a')
    await store.jobs.retry(TENANT, job.id)
    await store.maintenance.sweep()
    await store.maintenance.sweep()
    expect((await read(store, job.id)).status).toBe('queued')
  })
})

describe('redrive', () => {
  it('takes the failed jobs that the filter names, and those alone', async () => {
    const store = await openTestStore()
    const mine = await submitFailed(store, { group: 'a' }, 'one')
    await submitFailed(store, { group: 'b' }, 'two')
    expect(await store.jobs.redrive(TENANT, { group: 'a' }, { limit: 10 })).toMatchObject({ retried: 1 })
    expect((await read(store, mine.id)).status).toBe('queued')
    expect(await store.jobs.redrive(TENANT, { errorCode: 'other' }, { limit: 10 })).toMatchObject({
      retried: 0,
    })
    expect(await store.jobs.redrive(TENANT, { lane: 'sim/other' }, { limit: 10 })).toMatchObject({
      retried: 0,
    })
    expect(
      await store.jobs.redrive(TENANT, { errorCode: 'broken', lane: 'sim/chat' }, { limit: 10 }),
    ).toMatchObject({ retried: 1 })
    expect(await queuedEntries(store)).toHaveLength(2)
  })

  it('stops at its limit, the oldest first', async () => {
    const store = await openTestStore()
    const jobs = [
      await submitFailed(store, {}, 'one'),
      await submitFailed(store, {}, 'two'),
      await submitFailed(store, {}, 'three'),
    ]
    expect(await store.jobs.redrive(TENANT, {}, { limit: 2 })).toMatchObject({ retried: 2 })
    expect((await read(store, jobs[2]!.id)).status).toBe('failed')
  })

  it('leaves cancelled jobs alone', async () => {
    const store = await openTestStore()
    const outcome = await store.jobs.create(newJob())
    if (outcome.kind !== 'created') throw new Error(outcome.kind)
    await store.jobs.cancel(TENANT, outcome.job.id)
    expect(await store.jobs.redrive(TENANT, {}, { limit: 10 })).toMatchObject({ retried: 0 })
  })
})
