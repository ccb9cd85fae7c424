import { describe, expect, it } from 'vitest'
import {
  complete,
  eventsOf,
  LANE,
  newJob,
  openTestStore,
  queuedEntries,
  read,
  submit,
  TENANT,
} from '../../helpers/store.ts'

describe('create', () => {
  it('answers with the job as it then reads from the store', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'nightly', metadata: { a: '1' }, priority: 'low' })
    expect(job).toMatchObject({ status: 'queued', cache: 'miss', group: 'nightly', metadata: { a: '1' } })
    expect(await read(store, job.id)).toEqual(job)
  })

  it('writes the first event and passes the job to its lane, after which the outbox is empty', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    expect(await eventsOf(store, job.id)).toEqual(['job.queued'])
    expect(await queuedEntries(store)).toEqual([`${job.id}-1`])
    await expect.poll(() => store.redis.zcard(`${store.root}:outbox`)).toBe(0)
  })

  it('keeps nothing of the prompt in the queue', async () => {
    const store = await openTestStore()
    await submit(store, {}, 'a very secret prompt')
    await queuedEntries(store)
    const entries = (await store.dump()).split('\n').filter((line) => line.startsWith(`${store.prefix}:{l:`))
    expect(entries.length).toBeGreaterThan(0)
    expect(entries.join('\n')).not.toContain('secret')
  })

  it('is in the outbox until the lane has it', async () => {
    const store = await openTestStore()
    // The process dies between the record and the queue.
    const dying = store.openJobs({ outbox: { ...store.outbox, dispatch: async () => {} } })
    const outcome = await dying.create(newJob())
    if (outcome.kind !== 'created') throw new Error(outcome.kind)
    expect(await store.redis.zrange(`${store.root}:outbox`, '0', '-1')).toEqual([`${outcome.job.id}-1`])
    expect(await queuedEntries(store)).toEqual([])
  })

  it('changes nothing when its connection broke off and it is sent again', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const again = store.openJobs({ newId: () => job.id })
    expect(await again.create(newJob())).toMatchObject({ kind: 'replayed', job: { id: job.id } })
    expect(await eventsOf(store, job.id)).toEqual(['job.queued'])
    expect(await queuedEntries(store)).toEqual([`${job.id}-1`])
  })

  it('makes one job of those that bring the same id, also when they come at one moment', async () => {
    const store = await openTestStore()
    const id = `job_${'0'.repeat(32)}`
    const made = await Promise.all(
      Array.from({ length: 5 }, () => store.jobs.create(newJob({ id, group: 'g' }))),
    )
    expect(made.map(({ kind }) => kind).sort()).toEqual(['created', ...Array(4).fill('replayed')])
    expect(await store.jobs.group(TENANT, 'g')).toMatchObject({ total: 1, counts: { queued: 1 } })
    expect(await eventsOf(store, id)).toEqual(['job.queued'])
    expect(await queuedEntries(store)).toEqual([`${id}-1`])
  })

  it('serves high before normal before low', async () => {
    const store = await openTestStore()
    const low = await submit(store, { priority: 'low' }, 'low')
    const normal = await submit(store, {}, 'normal')
    const high = await submit(store, { priority: 'high' }, 'high')
    await store.outbox.idle()
    const order = [await store.fetch(), await store.fetch(), await store.fetch()].map((held) => held.id)
    expect(order).toEqual([high.id, normal.id, low.id])
  })

  it('refuses a job over the number of open ones, and takes it when one has ended', async () => {
    const store = await openTestStore()
    const limits = { maxQueued: 1, requestsPerMinute: null, budgetUsdPerDay: null }
    await submit(store, { limits }, 'first')
    expect(await store.jobs.create(newJob({ limits }, 'second'))).toMatchObject({
      kind: 'refused',
      code: 'queue_full',
    })
    await complete(store, await store.start())
    await submit(store, { limits }, 'second')
  })

  it('shows a tenant no job of another', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'nightly' })
    const signal = new AbortController().signal
    expect(await store.jobs.get('other', job.id)).toBeNull()
    expect(await store.jobs.attempts('other', job.id)).toBeNull()
    expect(await store.jobs.cancel('other', job.id)).toBeNull()
    expect(await store.jobs.retry('other', job.id)).toBeNull()
    expect(await store.jobs.remove('other', job.id)).toBe(false)
    expect(await store.jobs.group('other', 'nightly')).toBeNull()
    expect(await store.jobs.follow('other', job.id, '', signal)).toBeNull()
    expect(await store.jobs.followGroup('other', 'nightly', '', signal)).toBeNull()
    expect(await store.jobs.deliveries('other', job.id)).toBeNull()
    expect((await store.jobs.list('other', {}, 10)).data).toEqual([])
  })
})

describe('createMany', () => {
  it('answers each job in its place, and queues those that want a call', async () => {
    const store = await openTestStore()
    await submit(store, {}, 'cached')
    await complete(store, await store.start())
    const outcomes = await store.jobs.createMany([
      newJob({}, 'new'),
      newJob({}, 'new'),
      newJob({}, 'cached'),
      newJob({ runAt: Date.now() + 60_000 }, 'later'),
      newJob({ limits: { maxQueued: 1, requestsPerMinute: null, budgetUsdPerDay: null } }, 'too many'),
    ])
    expect(outcomes).toMatchObject([
      { kind: 'created', status: 'queued' },
      { kind: 'created', status: 'queued' },
      { kind: 'created', status: 'completed' },
      { kind: 'created', status: 'scheduled' },
      { kind: 'refused', code: 'queue_full' },
    ])
    const [first, , , later] = outcomes as { id: string }[]
    expect(await queuedEntries(store)).toEqual([`${first!.id}-1`])
    expect(await store.redis.zrange(`${store.root}:outbox`, '0', '-1')).toContain(`${later!.id}-1`)
  })

  it('puts each job into the queue of its own lane', async () => {
    const store = await openTestStore()
    await store.jobs.createMany([newJob(), newJob({ lane: 'sim/other' }, 'other')])
    expect(await store.queues.backlog(LANE)).toMatchObject({ waiting: 1 })
    expect(await store.queues.backlog('sim/other')).toMatchObject({ waiting: 1 })
    expect((await store.queues.lanes()).sort()).toEqual([LANE, 'sim/other'])
  })

  it('answers nothing for no jobs', async () => {
    const store = await openTestStore()
    expect(await store.jobs.createMany([])).toEqual([])
  })
})

describe('idempotency keys', () => {
  it('give the same job for the same payload, in every state of the job', async () => {
    const store = await openTestStore()
    const job = await submit(store, { idempotencyKey: 'k' })
    await complete(store, await store.start())
    const again = await store.jobs.create(newJob({ idempotencyKey: 'k' }))
    expect(again).toMatchObject({ kind: 'replayed', job: { id: job.id, status: 'completed' } })
    expect(await queuedEntries(store)).toEqual([])
    expect((await store.jobs.list(TENANT, {}, 10)).data).toHaveLength(1)
  })

  it.each([
    ['another prompt', {}, 'other'],
    ['another priority', { priority: 'high' }, 'hello'],
    ['other metadata', { metadata: { a: '1' } }, 'hello'],
    ['another number of attempts', { maxAttempts: 9 }, 'hello'],
  ] as const)('refuse %s', async (_what, members, text) => {
    const store = await openTestStore()
    await submit(store, { idempotencyKey: 'k' })
    const outcome = await store.jobs.create(newJob({ idempotencyKey: 'k', ...members }, text))
    expect(outcome.kind).toBe('conflict')
  })

  it('belong to their tenant', async () => {
    const store = await openTestStore()
    const job = await submit(store, { idempotencyKey: 'k' })
    const other = await submit(store, { idempotencyKey: 'k', tenant: 'other' })
    expect(other.id).not.toBe(job.id)
  })

  it('are free again when their job was deleted', async () => {
    const store = await openTestStore()
    const job = await submit(store, { idempotencyKey: 'k' })
    await store.jobs.remove(TENANT, job.id)
    const other = await submit(store, { idempotencyKey: 'k' }, 'something else')
    expect(other.id).not.toBe(job.id)
  })

  it('make one job out of a race', async () => {
    const store = await openTestStore()
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () => store.jobs.create(newJob({ idempotencyKey: 'k', cache: 'off' }))),
    )
    const ids = outcomes.map((outcome) => ('job' in outcome ? outcome.job.id : outcome.kind))
    expect(new Set(ids).size).toBe(1)
    expect(await queuedEntries(store)).toHaveLength(1)
  })

  it('work in bulk as well', async () => {
    const store = await openTestStore()
    const outcomes = await store.jobs.createMany([
      newJob({ idempotencyKey: 'k' }),
      newJob({ idempotencyKey: 'k' }),
      newJob({ idempotencyKey: 'k' }, 'other'),
    ])
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(['created', 'replayed', 'conflict'])
    const [first, second] = outcomes as { id: string }[]
    expect(second!.id).toBe(first!.id)
  })
})
