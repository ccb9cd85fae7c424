import { describe, expect, it } from 'vitest'
import { isTerminal } from '../../../jobs/job.ts'
import type { Work } from '../../../jobs/work.ts'
import { eventsOf, LANE, newJob, read, submit, TENANT, until } from '../../helpers/store.ts'
import { EMBED_LANE, embedJob, ended, openWorkshop, submitMany } from './fixture.ts'

/** Does what is asked, then loses the answer, for the first so many times. */
function losing<K extends 'start' | 'complete' | 'requeue' | 'fail'>(method: K, times = 1) {
  return (work: Work): Work => {
    let left = times
    const original = work[method] as (...args: unknown[]) => Promise<unknown>
    const disturbed = async (...args: unknown[]) => {
      const answer = await original(...args)
      if (left-- > 0) throw new Error('Command timed out')
      return answer
    }
    return { ...work, [method]: disturbed }
  }
}

describe('a worker', () => {
  it('gets a job answered, and books what the call used and cost', async () => {
    const { store, simulator, work } = await openWorkshop()
    await work()
    const { id } = await submit(store)
    const job = await ended(store, id)
    expect(job).toMatchObject({ status: 'completed', attempts: 1, cache: 'miss' })
    expect(job.result).toMatchObject({ object: 'chat.completion' })
    const { input_tokens, output_tokens } = job.usage!
    expect(job.cost_usd).toBeCloseTo((input_tokens + 2 * output_tokens) / 1e6, 12)
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([
      {
        outcome: 'completed',
        provider: 'sim',
        model: 'chat',
        status: 200,
        cost_usd: job.cost_usd,
        coalesced: 1,
      },
    ])
    expect(simulator.state().billed_calls).toBe(1)
    await until(async () => (await store.queues.backlog(LANE)).active === 0)
  })

  it('writes the chunks of a stream into the events', async () => {
    const { store, work } = await openWorkshop({ simulator: { outputTokens: 40 } })
    await work()
    const body = { model: LANE, messages: [{ role: 'user', content: 'hello' }], stream: true }
    const { id } = await submit(store, { body })
    const job = await ended(store, id)
    const events = await eventsOf(store, id)
    const deltas = events.filter((event) => event === 'job.delta').length
    expect(deltas).toBeGreaterThan(3)
    expect(events.slice(0, 3)).toEqual(['job.queued', 'job.started', 'job.delta'])
    expect(events.at(-1)).toBe('job.completed')
    expect(job.result).toMatchObject({ object: 'chat.completion' })
  })

  it('retries what failed, and marks the deltas by their attempt', async () => {
    const { store, work } = await openWorkshop({ simulator: { outputTokens: 40 } })
    await work()
    const content = 'hello [[fault:truncated_stream:times=1]]'
    const body = { model: LANE, messages: [{ role: 'user', content }], stream: true }
    const { id } = await submit(store, { body })
    expect((await ended(store, id)).attempts).toBe(2)
    const texts = await store.redis.lrange(`${store.root}:job:${id}:events`, 0, -1)
    const deltas = texts.map((text) => JSON.parse(text)).filter(({ event }) => event === 'job.delta')
    expect(new Set(deltas.map(({ attempt }) => attempt))).toEqual(new Set([1, 2]))
  })

  it('fails a job when its attempts are used up, with the last error', async () => {
    const { store, simulator, work } = await openWorkshop({ simulator: { faults: [{ kind: '500' }] } })
    await work()
    const { id } = await submit(store, { maxAttempts: 3 })
    expect(await ended(store, id)).toMatchObject({
      status: 'failed',
      attempts: 3,
      error: { provider_status: 500, retryable: true },
    })
    expect(simulator.state().calls).toBe(3)
  })

  it.each(['400', '401', '403', '404', '422', 'quota'] as const)(
    'does not repeat a call refused with %s',
    async (kind) => {
      const { store, simulator, work } = await openWorkshop({ simulator: { faults: [{ kind }] } })
      await work()
      const { id } = await submit(store)
      expect(await ended(store, id)).toMatchObject({
        status: 'failed',
        attempts: 1,
        error: { retryable: false },
      })
      expect(simulator.state().calls).toBe(1)
    },
  )

  it('waits out a 429 without using up an attempt', async () => {
    const fault = { kind: '429', times: 2, retry_after: 60 } as const
    const { store, work } = await openWorkshop({ simulator: { faults: [fault] } })
    await work()
    const { id } = await submit(store, { maxAttempts: 1 })
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    const attempts = await store.jobs.attempts(TENANT, id)
    expect(attempts?.map(({ outcome }) => outcome)).toEqual(['throttled', 'throttled', 'completed'])
  })

  it('ends an attempt whose time is up, and says that nobody knows whether it was billed', async () => {
    const { store, work } = await openWorkshop({ simulator: { faults: [{ kind: 'hang', times: 1 }] } })
    await work()
    const { id } = await submit(store, { timeoutMs: 150 })
    expect((await ended(store, id)).attempts).toBe(2)
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([
      { outcome: 'timeout', ambiguous: true },
      { outcome: 'completed', ambiguous: false },
    ])
  })

  it('aborts the call of a job that is cancelled', async () => {
    const { store, simulator, work } = await openWorkshop({ simulator: { latencyMs: 60_000 } })
    await work()
    const { id } = await submit(store)
    await until(() => simulator.state().in_flight === 1)
    await store.jobs.cancel(TENANT, id)
    await until(() => simulator.state().in_flight === 0)
    await until(async () => (await store.jobs.attempts(TENANT, id))?.[0]?.outcome === 'aborted')
    expect((await read(store, id)).status).toBe('cancelled')
  })

  it('aborts a stream that nobody needs any more, before its first chunk too', async () => {
    const { store, simulator, work } = await openWorkshop({
      simulator: { outputTokens: 2000, perTokenMs: 20 },
    })
    await work()
    const body = { model: LANE, messages: [{ role: 'user', content: 'hello' }], stream: true }
    const { id } = await submit(store, { body })
    await until(async () => (await eventsOf(store, id)).includes('job.delta'))
    // Like a cancel whose message is lost.
    await store.scripts.run('cancel', store.root, [id, 60_000])
    await until(() => simulator.state().in_flight === 0)
    await until(async () => (await store.jobs.attempts(TENANT, id))?.[0]?.outcome === 'aborted')
  })

  it('makes no call for a job that is cancelled between its claim and its call', async () => {
    const { store, simulator, work } = await openWorkshop({
      disturb: (work, store) => ({
        ...work,
        async start(held, intent) {
          const started = await work.start(held, intent)
          await store.jobs.cancel(TENANT, held[0]!.id)
          // Another message behind the abort: when it was received, so was the abort.
          const heard = Promise.withResolvers<void>()
          const leave = await store.pubsub.listen(`${store.prefix}:echo`, () => heard.resolve())
          await store.redis.publish(`${store.prefix}:echo`, '')
          await heard.promise
          leave()
          return started
        },
      }),
    })
    await work()
    const { id } = await submit(store)
    await until(async () => (await store.jobs.attempts(TENANT, id))?.[0]?.outcome === 'aborted')
    expect((await read(store, id)).status).toBe('cancelled')
    expect(simulator.state().calls).toBe(0)
  })

  it('lets the call of a cancelled leader go on for its followers, streamed or not', async () => {
    const { store, simulator, work } = await openWorkshop({
      simulator: { outputTokens: 40, perTokenMs: 5 },
    })
    await work()
    const body = { model: LANE, messages: [{ role: 'user', content: 'hello' }], stream: true }
    const [leader, follower] = await submitMany(store, [newJob({ body }), newJob({ body })])
    await until(async () => (await eventsOf(store, leader!)).includes('job.delta'))
    await store.jobs.cancel(TENANT, leader!)
    expect(await ended(store, follower!)).toMatchObject({ status: 'completed', cache: 'shared' })
    expect(simulator.state()).toMatchObject({ billed_calls: 1, calls: 1 })
  })
})

describe('a worker whose store loses answers', () => {
  it('claims a job once', async () => {
    const { store, simulator, work } = await openWorkshop({ disturb: losing('start') })
    await work()
    const { id } = await submit(store)
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([{ attempt: 1, ambiguous: false }])
    expect(simulator.state().calls).toBe(1)
  })

  it('stores a result once, and buys it once', async () => {
    const { store, simulator, work } = await openWorkshop({ disturb: losing('complete', 2) })
    await work()
    const { id } = await submit(store)
    await ended(store, id)
    await until(async () => (await store.queues.backlog(LANE)).active === 0)
    expect(await eventsOf(store, id)).toEqual(['job.queued', 'job.started', 'job.completed'])
    expect(simulator.state().calls).toBe(1)
  })

  it('keeps the entry of a job that it puts back', async () => {
    const { store, work } = await openWorkshop({
      simulator: { faults: [{ kind: '500', times: 1 }] },
      disturb: losing('requeue'),
    })
    await work()
    const { id } = await submit(store)
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 2 })
  })

  it('ends a job once that failed', async () => {
    const { store, work } = await openWorkshop({
      simulator: { faults: [{ kind: '400' }] },
      disturb: losing('fail'),
    })
    await work()
    const { id } = await submit(store)
    expect((await ended(store, id)).status).toBe('failed')
    expect(await eventsOf(store, id)).toEqual(['job.queued', 'job.started', 'job.failed'])
  })
})

describe('embedding jobs of one lane', () => {
  it('travel together, and each gets its own vectors and its share of usage and cost', async () => {
    const { store, simulator, work } = await openWorkshop()
    await work()
    const texts = Array.from({ length: 40 }, (_, index) => `text number ${index}`)
    const ids = await submitMany(
      store,
      texts.map((text) => embedJob(text)),
    )
    const jobs = await Promise.all(ids.map((id) => ended(store, id)))
    expect(simulator.state().billed_calls).toBeLessThanOrEqual(5)
    const vectors = jobs.map((job) => JSON.stringify((job.result as { data: object[] }).data))
    expect(new Set(vectors).size).toBe(40)
    const input = jobs.reduce((sum, job) => sum + job.usage!.input_tokens, 0)
    expect(input).toBe(simulator.state().billed_tokens)
    // Alone they get the very same vectors.
    const alone = await submitMany(store, [embedJob(texts[7]!, { cache: 'off' })])
    const own = await ended(store, alone[0]!)
    expect(JSON.stringify((own.result as { data: object[] }).data)).toBe(vectors[7])
  })

  it('are split by halves until the poisoned one alone has failed', async () => {
    const { store, simulator, work } = await openWorkshop()
    const jobs = Array.from({ length: 16 }, (_, index) =>
      embedJob(index === 11 ? '[[poison]]' : `text ${index}`),
    )
    const ids = await submitMany(store, jobs)
    await work()
    const ends = await Promise.all(ids.map((id) => ended(store, id)))
    expect(ends.map((job) => job.status)).toEqual(
      ids.map((_, index) => (index === 11 ? 'failed' : 'completed')),
    )
    expect(ends[11]).toMatchObject({ error: { retryable: false }, attempts: 1 })
    expect(ends[0]!.attempts).toBe(1)
    const shared = (await store.jobs.attempts(TENANT, ids[0]!))!.map(({ coalesced }) => coalesced)
    expect(shared).toEqual([16, 8])
    // 16 and at most 2 · log₂ 16 more.
    expect(simulator.state().calls).toBeLessThanOrEqual(9)
  })

  it('go on without those that are cancelled in between, and are aborted when all are', async () => {
    const { store, simulator, work } = await openWorkshop({ simulator: { latencyMs: 60_000 } })
    await work()
    const [a, b] = await submitMany(store, [embedJob('one'), embedJob('two')])
    await until(() => simulator.state().in_flight === 1)
    await store.jobs.cancel(TENANT, a!)
    await until(async () => (await read(store, a!)).status === 'cancelled')
    expect(simulator.state().in_flight).toBe(1)
    await store.jobs.cancel(TENANT, b!)
    await until(() => simulator.state().in_flight === 0)
  })

  it('do not wait for others longer than they may', async () => {
    const { store, work } = await openWorkshop()
    await work()
    const [id] = await submitMany(store, [embedJob('one')])
    const job = await ended(store, id!)
    expect(Date.parse(job.finished_at!) - Date.parse(job.created_at)).toBeLessThan(1000)
    expect(job.lane).toBe(EMBED_LANE)
  })
})

describe('workers that start and stop', () => {
  it('finish what runs before they stop, and start nothing more', async () => {
    const { store, simulator, work } = await openWorkshop({
      simulator: { latencyMs: 200 },
      limits: '{ max_concurrency: 2 }',
    })
    const worker = await work()
    const ids = await submitMany(
      store,
      Array.from({ length: 6 }, (_, index) => newJob({}, `job ${index}`)),
    )
    await until(() => simulator.state().in_flight === 2)
    await worker.stop()
    const { calls } = simulator.state()
    const statuses = (await Promise.all(ids.map((id) => read(store, id)))).map((job) => job.status)
    expect(statuses.filter((status) => isTerminal(status))).toHaveLength(calls)
    expect(statuses.filter((status) => status === 'running')).toEqual([])
    expect((await store.queues.backlog(LANE)).active).toBe(0)
    await work()
    for (const id of ids) expect((await ended(store, id)).attempts).toBe(1)
    expect(simulator.state().calls).toBe(6)
  })

  it('share the concurrency of a lane', async () => {
    const { store, simulator, work } = await openWorkshop({
      simulator: { latencyMs: 30 },
      limits: '{ max_concurrency: 3 }',
    })
    await work()
    await work()
    const ids = await submitMany(
      store,
      Array.from({ length: 30 }, (_, index) => newJob({}, `job ${index}`)),
    )
    for (const id of ids) expect((await ended(store, id)).status).toBe('completed')
    expect(simulator.state()).toMatchObject({ peak_concurrency: 3, calls: 30 })
  })

  it('take over a job whose worker died', async () => {
    const { store, simulator, work } = await openWorkshop({ store: { stalledAfterMs: 1000 } })
    const { id } = await submit(store)
    // A worker that claimed the job and then vanished.
    await store.start()
    await work()
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 2 })
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([
      { outcome: 'lost', ambiguous: true },
      { outcome: 'completed' },
    ])
    expect(simulator.state().calls).toBe(1)
  })
})
