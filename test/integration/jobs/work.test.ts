import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLeases } from '../../../jobs/leases.ts'
import { bullOf } from '../../../jobs/queue-entry.ts'
import { toEvent } from '../../../jobs/record.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  complete,
  eventsOf,
  fail,
  failure,
  intent,
  jobError,
  LANE,
  openTestStore,
  queuedEntries,
  type Running,
  read,
  retryNow,
  startAgain,
  submit,
  success,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

/** A worker takes the entry after the one that held it is gone, without waiting for the end of the lock. */
async function takeAgain(store: TestStore, { held }: Running, token: string): Promise<Running> {
  const started = await startAgain(store, held, token)
  if (started.kind !== 'run') throw new Error(`got ${started.kind}`)
  return { held, claimed: started.claimed }
}

describe('a call', () => {
  it('is recorded before it leaves', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { claimed } = await store.start()
    expect(claimed).toMatchObject({
      id: job.id,
      call: 1,
      attempts: 1,
      maxAttempts: 3,
      body: { messages: [{}] },
    })
    expect(await read(store, job.id)).toMatchObject({ status: 'running', attempts: 1 })
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([
      { attempt: 1, provider: 'sim', model: 'chat', outcome: 'running', latency_ms: null, ambiguous: false },
    ])
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started'])
  })

  it('is closed by its result, with tokens, cost and latency', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'nightly' })
    await complete(store, await store.start())
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([
      { outcome: 'completed', status: 200, latency_ms: 12, cost_usd: 0.5, usage: { total_tokens: 12 } },
    ])
    expect(await store.jobs.group(TENANT, 'nightly')).toMatchObject({ cost_usd: 0.5 })
    expect(await queuedEntries(store)).toEqual([])
  })

  it('is claimed once when the answer of the store is lost on its way', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const held = await store.fetch()
    const first = await store.work.start([held], intent)
    expect(await store.work.start([held], intent)).toEqual(first)
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([{ attempt: 1, ambiguous: false }])
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started'])
  })

  it('stores its result once when it is stored twice', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'nightly' })
    const { claimed } = await store.start()
    const completion = { claimed, end: success, result: { a: 1 }, usage: null, costUsd: 0.5 }
    await store.work.complete([completion])
    const spent = await keysOf(store.redis, `${store.root}:money:spent:*`)
    await store.work.complete([completion])
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started', 'job.completed'])
    expect(await store.jobs.group(TENANT, 'nightly')).toMatchObject({ cost_usd: 0.5 })
    expect(await store.redis.get(spent[0]!)).toBe('500000000')
  })
})

describe('a retry', () => {
  it('puts the job back to wait and counts the attempt', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { held, claimed } = await store.start()
    const at = Date.now() + 60_000
    expect(await store.work.requeue(claimed, failure, { ...retryNow, at })).toBe(true)
    await store.lane().delay(held, at)
    expect(await read(store, job.id)).toMatchObject({
      status: 'queued',
      attempts: 1,
      waiting_for: 'retry_delay',
      next_attempt_at: new Date(at).toISOString(),
    })
    expect(await store.lane().nextDue()).toBe(at)
    expect(await store.lane().fetch(1)).toEqual([])
  })

  it('comes again when it is due, as another call', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { held, claimed } = await store.start()
    const at = Date.now() + 50
    await store.work.requeue(claimed, failure, { ...retryNow, at })
    await store.lane().delay(held, at)
    const again = await store.start()
    expect(Date.now()).toBeGreaterThanOrEqual(at)
    expect(again.claimed).toMatchObject({ id: job.id, call: 2, attempts: 2 })
    await complete(store, again)
    const attempts = await store.jobs.attempts(TENANT, job.id)
    expect(attempts?.map((one) => one.outcome)).toEqual(['retryable', 'completed'])
    expect(await eventsOf(store, job.id)).toEqual([
      'job.queued',
      'job.started',
      'job.retrying',
      'job.started',
      'job.completed',
    ])
  })

  it('counts no attempt when the provider only throttled', async () => {
    const store = await openTestStore()
    await submit(store, { maxAttempts: 1 })
    for (let call = 1; call <= 4; call++) {
      const { held, claimed } = await store.start()
      expect(claimed).toMatchObject({ call, attempts: 1 })
      const throttled = { ...failure, outcome: 'throttled' } as const
      await store.work.requeue(claimed, throttled, { ...retryNow, countsAsAttempt: false })
      await store.lane().delay(held, Date.now())
    }
  })

  it('has to wait when it is taken before its time', async () => {
    const store = await openTestStore()
    await submit(store)
    const { held, claimed } = await store.start()
    const at = Date.now() + 60_000
    await store.work.requeue(claimed, failure, { ...retryNow, at })
    expect(await store.work.start([{ ...held, token: 'other' }], intent)).toEqual([{ kind: 'wait', at }])
  })

  it('is stored once when it is stored twice, and keeps its entry', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { claimed } = await store.start()
    expect(await store.work.requeue(claimed, failure, retryNow)).toBe(true)
    expect(await store.work.requeue(claimed, failure, retryNow)).toBe(true)
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started', 'job.retrying'])
    expect((await read(store, job.id)).attempts).toBe(1)
  })
})

describe('another lane', () => {
  const elsewhere = 'sim/other'
  const backlog = async (store: TestStore, lane: string) => {
    await store.outbox.idle()
    return (await store.queues.backlog(lane)).waiting
  }

  it('takes over a job whose call failed, under a new entry', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { held, claimed } = await store.start()
    const next = { ...retryNow, countsAsAttempt: false, lane: elsewhere }
    expect(await store.work.requeue(claimed, failure, next)).toBe(false)
    // The answer was lost, and it is stored once more.
    expect(await store.work.requeue(claimed, failure, next)).toBe(false)
    await store.lane().acknowledge(held)
    expect(await read(store, job.id)).toMatchObject({ status: 'queued', lane: elsewhere, attempts: 0 })
    expect([await backlog(store, LANE), await backlog(store, elsewhere)]).toEqual([0, 1])
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started', 'job.retrying'])
  })

  it('takes over a job that waits, whose entry here is stale then', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const held = await store.fetch()
    expect(await store.work.models([held])).toEqual([{ model: LANE, unfitLanes: [] }])
    await store.work.reroute(held, elsewhere)
    await store.work.reroute(held, elsewhere)
    expect(await backlog(store, elsewhere)).toBe(1)
    expect(await store.work.start([held], intent)).toEqual([{ kind: 'done' }])
    expect(await read(store, job.id)).toMatchObject({ status: 'queued', lane: elsewhere })
  })

  it('does not take over a job that has ended', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const held = await store.fetch()
    await store.jobs.cancel(TENANT, job.id)
    await store.work.reroute(held, elsewhere)
    expect(await backlog(store, elsewhere)).toBe(0)
    await store.jobs.remove(TENANT, job.id)
    expect(await store.work.models([held])).toEqual([null])
    await store.work.reroute(held, elsewhere)
    expect(await backlog(store, elsewhere)).toBe(0)
  })
})

describe('a job whose worker died', () => {
  it('is handed out again when the lock has ended, and not before', async () => {
    const store = await openTestStore({ stalledAfterMs: 600 })
    const job = await submit(store)
    const first = await store.start()
    expect(await store.lane().fetch(1)).toEqual([])
    const before = Date.now()
    const second = await store.start()
    expect(second.held.id).toBe(first.held.id)
    expect(Date.now() - before).toBeLessThan(10_000)
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([
      { attempt: 1, outcome: 'lost', ambiguous: true },
      { attempt: 2, outcome: 'running', ambiguous: false },
    ])
  })

  it('stays with a worker that renews its lock', async () => {
    const store = await openTestStore({ stalledAfterMs: 450 })
    await submit(store)
    const [held] = await store.lane().fetch(1)
    const { id: entry, token } = bullOf(held!)
    const leases = createLeases({ ...store, lockMs: 300, placeMs: 300 })
    const end = Date.now() + 1000
    while (Date.now() < end) {
      expect(await leases.renewLocks(LANE, [{ entry, token }])).toEqual([])
      expect(await store.lane().fetch(1)).toEqual([])
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })

  it('is quarantined when three workers have died with it', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const first = await store.start()
    await takeAgain(store, first, 'second')
    await takeAgain(store, first, 'third')
    expect(await startAgain(store, first.held, 'fourth')).toEqual({ kind: 'done' })
    expect(await read(store, job.id)).toMatchObject({
      status: 'failed',
      error: { code: 'worker_lost', retryable: true },
    })
    const attempts = await store.jobs.attempts(TENANT, job.id)
    expect(attempts?.map((one) => [one.outcome, one.ambiguous])).toEqual(Array(3).fill(['lost', true]))
  })

  it('takes no other job into quarantine: those that were lost with it twice run one at a time', async () => {
    const store = await openTestStore()
    const ids = [await submit(store), await submit(store, {}, 'its neighbour')].map(({ id }) => id)
    const [poison, neighbour] = [await store.start(), await store.start()]
    await takeAgain(store, poison, 'second')
    await takeAgain(store, neighbour, 'second')
    await takeAgain(store, poison, 'third')
    expect(await startAgain(store, neighbour.held, 'third')).toMatchObject({ kind: 'wait' })
    // The worker dies again, and the next one gets what it had.
    await startAgain(store, poison.held, 'fourth')
    const last = await takeAgain(store, neighbour, 'fourth')
    await complete(store, last)
    expect(await Promise.all(ids.map(async (id) => (await read(store, id)).status))).toEqual([
      'failed',
      'completed',
    ])
  })

  it('may try three more workers when someone retries it after its quarantine', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const first = await store.start()
    for (const token of ['second', 'third']) await takeAgain(store, first, token)
    await startAgain(store, first.held, 'fourth')
    await store.lane().acknowledge(first.held)
    await store.jobs.retry(TENANT, job.id)
    const again = await store.start()
    await takeAgain(store, again, 'fifth')
    expect((await read(store, job.id)).status).toBe('running')
  })

  it('lets its followers go on when it is quarantined', async () => {
    const store = await openTestStore()
    await submit(store)
    const follower = await submit(store)
    const first = await store.start()
    for (const token of ['second', 'third']) await takeAgain(store, first, token)
    await startAgain(store, first.held, 'fourth')
    await store.lane().acknowledge(first.held)
    const promoted = await store.start()
    expect(promoted.held.id).toBe(follower.id)
  })

  it('needs no call when its result was stored before the worker died', async () => {
    const store = await openTestStore({ stalledAfterMs: 450 })
    const job = await submit(store)
    const { claimed } = await store.start()
    await store.work.complete([{ claimed, end: success, result: { a: 1 }, usage: null, costUsd: 0.5 }])
    const again = await store.fetch()
    expect(again.id).toBe(job.id)
    expect(await store.work.start([again], intent)).toEqual([{ kind: 'done' }])
  })
})

describe('two calls of one job', () => {
  it('take the result of the older one when it comes first, and then ignore that of the newer one', async () => {
    const store = await openTestStore()
    const job = await submit(store, { group: 'nightly' })
    const older = await store.start()
    const newer = await takeAgain(store, older, 'second')
    const store1 = { claimed: older.claimed, end: success, usage: null, costUsd: 0.5 }
    await store.work.complete([{ ...store1, result: { from: 'older' } }])
    await store.work.complete([{ ...store1, claimed: newer.claimed, result: { from: 'newer' } }])
    expect(await read(store, job.id)).toMatchObject({ status: 'completed', result: { from: 'older' } })
    const attempts = await store.jobs.attempts(TENANT, job.id)
    expect(attempts?.map((one) => one.outcome)).toEqual(['completed', 'completed'])
    expect((await eventsOf(store, job.id)).filter((event) => event === 'job.completed')).toHaveLength(1)
    // Both were paid for; the job shows the one that served it.
    expect(await store.jobs.group(TENANT, 'nightly')).toMatchObject({ cost_usd: 0.5 })
  })

  it.each([
    [
      'completes',
      (store: TestStore, { claimed }: Running) =>
        store.work.complete([
          { claimed, end: success, result: { from: 'older' }, usage: null, costUsd: 0.5 },
        ]),
    ],
    ['fails', (store: TestStore, { claimed }: Running) => store.work.fail(claimed, failure, jobError, false)],
    [
      'is to be retried',
      (store: TestStore, { claimed }: Running) => store.work.requeue(claimed, failure, retryNow),
    ],
  ])(
    'leave the older one flagged as ambiguous when it %s after all, however often that is stored',
    async (_, end) => {
      const store = await openTestStore()
      const job = await submit(store)
      const older = await store.start()
      const newer = await takeAgain(store, older, 'second')
      await end(store, older)
      await end(store, older)
      await complete(store, newer)
      const attempts = await store.jobs.attempts(TENANT, job.id)
      expect(attempts?.map((one) => one.ambiguous)).toEqual([true, false])
      expect(attempts?.map((one) => one.outcome)).not.toContain('lost')
    },
  )

  it('ignore the failure of the older one', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const older = await store.start()
    const newer = await takeAgain(store, older, 'second')
    await store.work.fail(older.claimed, failure, jobError, false)
    expect((await read(store, job.id)).status).toBe('running')
    expect(await store.work.requeue(older.claimed, failure, retryNow)).toBe(false)
    expect((await read(store, job.id)).status).toBe('running')
    await complete(store, newer)
    expect((await read(store, job.id)).status).toBe('completed')
  })

  it('write the chunks of the newer one alone', async () => {
    const store = await openTestStore()
    await submit(store)
    const older = await store.start()
    const newer = await takeAgain(store, older, 'second')
    expect(await store.work.stream(older.claimed, [{ a: 1 }])).toBe(false)
    expect(await store.work.stream(newer.claimed, [{ a: 2 }])).toBe(true)
  })
})

describe('the events of a job', () => {
  it('count from 1 without gaps, though several writers write them at the same time', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { claimed } = await store.start()
    await Promise.all(
      Array.from({ length: 40 }, (_, at) => store.work.stream(claimed, [{ at, first: true }, { at }])),
    )
    const following = await store.jobs.follow(TENANT, job.id, '', AbortSignal.timeout(2000))
    const seen: number[] = []
    for await (const event of following!.events) {
      seen.push(event.data.seq)
      if (seen.length === 82) break
    }
    expect(seen).toEqual(Array.from({ length: 82 }, (_, index) => index + 1))
  })

  it('carry any chunk unchanged', async () => {
    const store = await openTestStore()
    const job = await submit(store, { cache: 'off' })
    const { claimed } = await store.start()
    const before = (await eventsOf(store, job.id)).length
    let written = 0
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const chunk = JSON.parse(JSON.stringify(value))
        await store.work.stream(claimed, [chunk])
        const text = await store.redis.lindex(`${store.root}:job:${job.id}:events`, before + written++)
        const event = toEvent(job.id, 1, text!, () => job, store)
        expect(event).toMatchObject({ event: 'job.delta', data: { attempt: 1 } })
        expect(event.data.chunk).toEqual(chunk)
      }),
      { numRuns: 50 },
    )
  })
})

describe('a lane', () => {
  it('puts an entry that is given back in front of those behind it', async () => {
    const store = await openTestStore()
    const first = await submit(store, {}, 'first')
    await store.outbox.idle()
    await submit(store, {}, 'second')
    await store.outbox.idle()
    const held = await store.fetch()
    expect(held.id).toBe(first.id)
    await store.lane().giveBack(held)
    expect((await store.fetch()).id).toBe(first.id)
  })

  it('hands many entries out at once, and no more than exist', async () => {
    const store = await openTestStore()
    for (let index = 0; index < 5; index++) await submit(store, {}, `job ${index}`)
    await store.outbox.idle()
    const fetched = await store.lane().fetch(20)
    expect(fetched).toHaveLength(5)
    expect(new Set(fetched.map((held) => held.id)).size).toBe(5)
  })

  it('reports the cost of an entry before it is started', async () => {
    const store = await openTestStore()
    const cost = { tokens: 70, inputTokens: 60, outputTokens: 10, inputs: 3, coalesceKey: 'k' }
    await submit(store, { cost })
    expect((await store.fetch()).cost).toMatchObject(cost)
  })

  it('ignores the acknowledgement of an entry that went to another worker', async () => {
    const store = await openTestStore({ stalledAfterMs: 450 })
    await submit(store)
    const first = await store.fetch()
    const second = await store.fetch()
    expect(second.id).toBe(first.id)
    await store.lane().acknowledge(first)
    await store.lane().delay(first, Date.now())
    await store.lane().giveBack(first)
    const [started] = await store.work.start([second], intent)
    expect(started?.kind).toBe('run')
    await fail(store, { held: second, claimed: (started as { claimed: Running['claimed'] }).claimed })
    expect(await store.queues.backlog('sim/chat')).toEqual({ waiting: 0, delayed: 0, active: 0 })
  })
})
