import { describe, expect, it, onTestFinished } from 'vitest'
import { isBatchId } from '../../../batches/batch.ts'
import type { Job } from '../../../jobs/job.ts'
import { tenantRoot } from '../../../jobs/keys.ts'
import type { LaneQueue } from '../../../jobs/lane-queue.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import { createRedrive, type RedriveRule } from '../../../jobs/redrive.ts'
import { createRedriveSchedule } from '../../../jobs/redrive-schedule.ts'
import {
  complete,
  failure,
  intent,
  jobError,
  LANE,
  openTestStore,
  read,
  statusesOf,
  submit,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'

const LANES = ['sim/chat', 'sim/other', 'sim/third']
const CODES = ['timeout', 'broken', 'insufficient_quota']

/** Submits jobs and lets each fail in the given way; no two share an answer. */
function openFailing(store: TestStore) {
  const queues = new Map<string, LaneQueue>()
  let texts = 0

  function queueOf(lane: string): LaneQueue {
    const known = queues.get(lane)
    if (known) return known
    const opened = store.queues.consume(lane, { onStalled() {}, onError() {} })
    onTestFinished(() => opened.close())
    queues.set(lane, opened)
    return opened
  }

  /** Fails the next job of the lane. */
  async function failNext(lane = LANE, code = 'timeout', retryable = true): Promise<string> {
    const queue = queueOf(lane)
    let id = ''
    await until(async () => {
      const [held] = await queue.fetch(1)
      if (!held) return false
      const [started] = await store.work.start([held], intent)
      if (started?.kind !== 'run') throw new Error(`got ${started?.kind}`)
      await store.work.fail(started.claimed, failure, { ...jobError, code, retryable }, false)
      await queue.acknowledge(held)
      id = held.id
      return true
    })
    return id
  }

  return {
    failNext,
    async fail(members: Partial<NewJob> = {}, code = 'timeout', retryable = true): Promise<Job> {
      const job = await submit(store, members, `text ${++texts}`)
      await store.outbox.idle()
      await failNext(members.lane ?? LANE, code, retryable)
      return read(store, job.id)
    },
  }
}

describe('counting failed jobs', () => {
  it.each([
    ['ordinary words', 'It broke.'],
    ['half of a surrogate pair', 'cut \ud83d'],
    ['what looks like a member', 'said ","retryable":false,"code":"other'],
    ['both', '\udc00 ","retryable":false,"code":"other'],
    ['zeros and lines', 'a\u0000b\nc'],
  ])('reads the code of an error with %s', async (_name, message) => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const { id } = await fail({}, 'odd', true)
    const error = {
      code: 'odd',
      message,
      provider_status: null,
      retryable: true,
      provider_error: { retryable: false },
    }
    await store.redis.hset(`${store.root}:job:${id}`, 'error', JSON.stringify(error))
    const { classes } = await store.jobs.failures(TENANT)
    expect(classes).toMatchObject([{ lane: LANE, code: 'odd', count: 1, retryable: true }])
  })

  it('is exact over lanes and codes, and says when the first and the last failed', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const failed: Job[] = []
    for (const [at, lane] of LANES.entries())
      for (const [place, code] of CODES.entries())
        for (let count = 0; count <= at + place; count++)
          failed.push(await fail({ lane }, code, code !== 'insufficient_quota'))
    await submit(store, {}, 'one that waits')

    const { classes, total } = await store.jobs.failures(TENANT)
    expect(total).toBe(failed.length)
    expect(classes.map(({ count }) => count)).toEqual([5, 4, 4, 3, 3, 3, 2, 2, 1])
    for (const [at, lane] of LANES.entries())
      for (const [place, code] of CODES.entries()) {
        const times = failed
          .filter((job) => job.lane === lane && job.error?.code === code)
          .map((job) => job.finished_at!)
        expect(classes).toContainEqual({
          lane,
          code,
          count: at + place + 1,
          first_at: times.at(0),
          last_at: times.at(-1),
          retryable: code !== 'insufficient_quota',
        })
      }
  })

  it('is repeated after five seconds, and once for all callers in between', async () => {
    const store = await openTestStore()
    let time = 1_000_000
    const jobs = store.openJobs({ now: () => time })
    const { fail } = openFailing(store)
    await fail()
    const [first, second] = await Promise.all([jobs.failures(TENANT), jobs.failures(TENANT)])
    expect(first).toBe(second)
    await fail()
    time += 4_999
    expect(await jobs.failures(TENANT)).toBe(first)
    time += 1
    expect(await jobs.failures(TENANT)).toMatchObject({ total: 2 })
    expect(await jobs.failures('somebody-else')).toMatchObject({ total: 0, classes: [] })
  })

  it('walks an index of several blocks, many of them of one millisecond', async () => {
    const store = await openTestStore()
    const ids = Array.from({ length: 1_037 }, (_, index) => `job_${String(index).padStart(5, '0')}`)
    for (const [index, id] of ids.entries()) {
      await store.redis.zadd(`${store.root}:status:failed`, index < 700 ? 5 : index, id)
      const error = JSON.stringify({ ...jobError, code: `code-${index % 3}` })
      const fields = { status: 'failed', lane: LANE, type: 'chat', error, finished_at: String(index) }
      store.redis.hset(`${store.root}:job:${id}`, fields).catch(() => {})
    }
    expect(await store.jobs.failures(TENANT)).toMatchObject({
      total: 1_037,
      classes: [{ count: 346 }, { count: 346 }, { count: 345 }],
    })
  })
})

describe('redriving with filters', () => {
  it('changes nothing in a dry run, and says what it would do', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    for (const code of ['timeout', 'broken', 'timeout']) await fail({}, code)
    const before = await store.dump()
    const filter = { errorCode: 'timeout' }
    expect(await store.jobs.redrive(TENANT, filter, { limit: 10, isDryRun: true })).toEqual({
      matched: 2,
      retried: 0,
    })
    expect(await store.dump()).toBe(before)
    expect(await store.jobs.redrive(TENANT, filter, { limit: 1 })).toEqual({ matched: 1, retried: 1 })
    expect(await store.jobs.redrive(TENANT, filter, { limit: 10 })).toEqual({ matched: 1, retried: 1 })
  })

  it('retries the other jobs where an error prevents one, and says so', async () => {
    const errors: string[] = []
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const jobs = [await fail(), await fail({ group: 'spoilt' }), await fail()]
    await store.redis.set(`${store.root}:group:spoilt`, 'no hash')
    const { redrive } = store.openJobs({ onError: (_error, what) => errors.push(what) })
    expect(await redrive(TENANT, {}, { limit: 10 })).toEqual({ matched: 3, retried: 2, failed: 1 })
    expect(await statusesOf(store, [jobs[0]!.id, jobs[2]!.id])).toEqual(['queued', 'queued'])
    expect(errors).toEqual(['queueing 1 of 3 jobs again'])
  })

  it('filters by type, and by when the job failed', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const first = await fail()
    const second = await fail({ type: 'response' })
    const third = await fail()
    const count = async (filter: Parameters<typeof store.jobs.redrive>[1]) =>
      (await store.jobs.redrive(TENANT, filter, { limit: 10, isDryRun: true })).matched
    const at = (job: Job) => Date.parse(job.finished_at!)
    expect(await count({ type: 'response' })).toBe(1)
    expect(await count({ type: 'embedding' })).toBe(0)
    expect(await count({ failedAfter: at(second) })).toBe(2)
    expect(await count({ failedBefore: at(second) })).toBe(1)
    expect(await count({ failedAfter: at(first), failedBefore: at(third) })).toBe(2)
    expect(await count({ failedAfter: at(third) + 1 })).toBe(0)
    await store.jobs.redrive(TENANT, { failedAfter: at(second), type: 'chat' }, { limit: 10 })
    expect(await statusesOf(store, [first.id, second.id, third.id])).toEqual(['failed', 'failed', 'queued'])
  })
})

describe('failed jobs with their requests', () => {
  it('come oldest first, each in the form that a submission takes', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const webhook = { url: 'https://r.example/', events: ['job.failed' as const] }
    const job = await fail(
      { group: 'nightly', metadata: { a: 'b' }, priority: 'low', cache: 'off', webhook, timeoutMs: 5_000 },
      'broken',
    )
    const other = await fail({ deadline: Date.now() + 60_000, timeoutMs: 7_200_000 })
    const found = await Array.fromAsync(store.jobs.failed(TENANT, {}, 10))
    expect(found.map((one) => one.job)).toEqual([job, other])
    expect(found[0]!.create).toEqual({
      type: 'chat',
      body: { model: LANE, messages: [{ role: 'user', content: 'text 1' }] },
      priority: 'low',
      timeout_ms: 5_000,
      max_attempts: 3,
      cache: 'off',
      webhook,
      group: 'nightly',
      metadata: { a: 'b' },
    })
    expect(Object.keys(found[1]!.create!)).toEqual(['type', 'body', 'priority', 'max_attempts', 'cache'])
    expect(await Array.fromAsync(store.jobs.failed(TENANT, { errorCode: 'broken' }, 10))).toHaveLength(1)
    expect(await Array.fromAsync(store.jobs.failed(TENANT, {}, 1))).toHaveLength(1)
  })
})

describe('redriving on a schedule', () => {
  const roomy = { maxQueued: 1_000_000, budgetUsdPerDay: null }
  const rule: RedriveRule = { errorCodes: ['timeout'], lanes: null, afterMs: 1_000, maxTimes: 2 }

  /** A worker's schedule; `turn` is one look of its own, even if another worker had the last one. */
  function openSchedule(
    store: TestStore,
    rules: RedriveRule[],
    options: {
      room?: typeof roomy | { maxQueued: number; budgetUsdPerDay: number }
      isMemoryShort?: boolean
      activeTenants?: () => Promise<string[]>
    } = {},
  ) {
    const rootOf = (tenant: string) => tenantRoot(store.prefix, tenant)
    const onError = (error: unknown) => {
      throw error
    }
    const redrive = createRedrive({
      redis: store.redis,
      scripts: store.scripts,
      outbox: store.outbox,
      rootOf,
      retainMs: () => store.settings.retainMs,
      onAgain: null,
      onError,
    })
    const schedule = createRedriveSchedule({
      redis: store.redis,
      redrive,
      rootOf,
      tenants: async () => [TENANT],
      activeTenants: options.activeTenants ?? null,
      policy: {
        rules: () => rules,
        roomOf: () => options.room ?? roomy,
        isServed: (lane) => lane !== 'sim/gone',
        isWanted: ({ group }) => group === null || !isBatchId(group),
      },
      isMemoryShort: async () => options.isMemoryShort ?? false,
      now: Date.now,
      onRedriven() {},
      onFailure: ({ error }) => onError(error),
    })
    return {
      redrive,
      run: schedule.run,
      async turn() {
        await store.redis.del(`${store.root}:redriving`)
        return schedule.run()
      },
    }
  }

  /** Makes the failure of a job this much older. */
  async function age(store: TestStore, id: string, ms: number): Promise<number> {
    const key = `${store.root}:job:${id}`
    const failedAt = Number(await store.redis.hget(key, 'finished_at')) - ms
    await store.redis.hset(key, 'finished_at', String(failedAt))
    return failedAt
  }

  it('queues a job again when its time has come, as often as the rule says', async () => {
    const store = await openTestStore()
    const { fail, failNext } = openFailing(store)
    const job = await fail()
    const schedule = openSchedule(store, [rule])
    expect(await schedule.turn()).toBe(0)
    for (const redrives of [1, 2]) {
      await age(store, job.id, 999)
      await until(async () => (await schedule.turn()) === 1)
      expect(await read(store, job.id)).toMatchObject({ status: 'queued', attempts: 0, redrives })
      expect(await failNext()).toBe(job.id)
      expect(await schedule.turn()).toBe(0)
    }
    await age(store, job.id, 5_000)
    expect(await schedule.turn()).toBe(0)
    expect(await read(store, job.id)).toMatchObject({ status: 'failed', redrives: 2 })
    // A retry by hand is separate, and is not counted.
    expect(await store.jobs.retry(TENANT, job.id)).toMatchObject({ kind: 'retried', job: { redrives: 2 } })
  })

  it('looks again at a tenant without failed jobs only when something was written for it, or a minute is over', async () => {
    const store = await openTestStore()
    let active: string[] = []
    const schedule = openSchedule(store, [rule], { activeTenants: async () => active })
    const { signal } = new AbortController()
    expect(await schedule.run(signal)).toBe(0)
    const { fail, failNext } = openFailing(store)
    await age(store, (await fail()).id, 10_000)
    expect(await schedule.run(signal)).toBe(0)
    active = [TENANT]
    expect(await schedule.run(signal)).toBe(1)
    // Another term of the maintainer knows nothing of the one before.
    active = []
    await age(store, await failNext(), 10_000)
    await store.redis.del(`${store.root}:redriving`)
    expect(await schedule.run(signal)).toBe(0)
    expect(await schedule.run(new AbortController().signal)).toBe(1)
  })

  it('leaves jobs alone that no rule names, and applies the first rule that does', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const other = await fail({}, 'broken')
    const elsewhere = await fail({ lane: 'sim/other' })
    const meant = await fail({ lane: 'sim/third' })
    const gone = await fail({ lane: 'sim/gone' })
    for (const { id } of [other, elsewhere, meant, gone]) await age(store, id, 10_000)
    const rules: RedriveRule[] = [
      { ...rule, lanes: ['sim/other'], afterMs: 60_000 },
      { ...rule, lanes: ['sim/other', 'sim/third', 'sim/gone'] },
    ]
    expect(await openSchedule(store, rules).turn()).toBe(1)
    const ids = [other.id, elsewhere.id, meant.id, gone.id]
    expect(await statusesOf(store, ids)).toEqual(['failed', 'failed', 'queued', 'failed'])
  })

  it('lets one of several workers through, and repeats nothing of what that one had done', async () => {
    const store = await openTestStore()
    const { fail, failNext } = openFailing(store)
    const jobs = [await fail(), await fail(), await fail()]
    for (const { id } of jobs) await age(store, id, 10_000)
    const workers = [openSchedule(store, [rule]), openSchedule(store, [rule]), openSchedule(store, [rule])]
    const counts = await Promise.all(workers.map((worker) => worker.run()))
    expect(counts.sort()).toEqual([0, 0, 3])
    // A job that becomes due now waits for the next turn of any worker.
    await age(store, await failNext(), 10_000)
    expect(await Promise.all(workers.map((worker) => worker.run()))).toEqual([0, 0, 0])
    await store.redis.del(`${store.root}:redriving`)
    expect((await Promise.all(workers.map((worker) => worker.run()))).sort()).toEqual([0, 0, 1])
    const redriven = await Promise.all(jobs.map(({ id }) => read(store, id)))
    expect(redriven.map(({ status, redrives }) => [status, redrives]).sort()).toEqual([
      ['queued', 1],
      ['queued', 1],
      ['queued', 2],
    ])
  })

  it('does once what was interrupted in the middle, though it is sent twice', async () => {
    const store = await openTestStore()
    const { fail, failNext } = openFailing(store)
    const job = await fail()
    const failedAt = await age(store, job.id, 10_000)
    const { redrive } = openSchedule(store, [rule])
    const terms = { ...roomy, failedAt, afterMs: 1_000, maxTimes: 5 }
    const answers = await Promise.all([
      redrive.retry(TENANT, job.id, terms),
      redrive.retry(TENANT, job.id, terms),
    ])
    expect(answers.sort()).toEqual(['not_retryable', 'queued'])
    // And not if the job has failed once more since: that failure has its own time to wait.
    await failNext()
    expect(await redrive.retry(TENANT, job.id, terms)).toBe('not_retryable')
    const spent = { ...terms, failedAt: await age(store, job.id, 10_000), maxTimes: 1 }
    expect(await redrive.retry(TENANT, job.id, spent)).toBe('not_retryable')
    expect(await read(store, job.id)).toMatchObject({ status: 'failed', redrives: 1 })
    expect(await redrive.retry(TENANT, job.id, { ...spent, maxTimes: 2 })).toBe('queued')
  })

  it('goes by the clock of Redis, not by that of the caller', async () => {
    const store = await openTestStore()
    const job = await openFailing(store).fail()
    const failedAt = Date.parse(job.finished_at!)
    const { redrive } = openSchedule(store, [rule])
    const terms = { ...roomy, failedAt, afterMs: 60_000, maxTimes: 5 }
    expect(await redrive.retry(TENANT, job.id, terms)).toBe('not_due')
  })

  it('keeps to the room and the budget of the tenant, and to the memory of Redis', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const jobs = [
      await fail({ estimateUsd: 1 }),
      await fail({ estimateUsd: 1 }),
      await fail({ estimateUsd: 1 }),
    ]
    for (const { id } of jobs) await age(store, id, 10_000)
    expect(await openSchedule(store, [rule], { isMemoryShort: true }).turn()).toBe(0)
    expect(await openSchedule(store, [rule], { room: { maxQueued: 0, budgetUsdPerDay: 100 } }).turn()).toBe(0)
    const tight = openSchedule(store, [rule], { room: { maxQueued: 10, budgetUsdPerDay: 2 } })
    expect(await tight.turn()).toBe(2)
    expect(await tight.turn()).toBe(0)
    expect(await openSchedule(store, [rule]).turn()).toBe(1)
  })

  it('is not held up by jobs that cost more than what is left', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const dear = await fail({ estimateUsd: 5 })
    const cheap = await fail({ estimateUsd: 1 })
    for (const { id } of [dear, cheap]) await age(store, id, 10_000)
    // A block of jobs that no rule names is between them.
    const others = Array.from({ length: 200 }, (_, at) => `job_between_${String(at).padStart(3, '0')}`)
    const created = Number(await store.redis.zscore(`${store.root}:status:failed`, dear.id))
    await store.redis.zadd(`${store.root}:status:failed`, created - 1, dear.id, created + 1, cheap.id)
    await Promise.all(others.map((id) => store.redis.zadd(`${store.root}:status:failed`, created, id)))
    const tight = openSchedule(store, [rule], { room: { maxQueued: 10, budgetUsdPerDay: 2 } })
    expect(await tight.turn()).toBe(1)
    expect(await statusesOf(store, [dear.id, cheap.id])).toEqual(['failed', 'queued'])
  })

  it('skips jobs that are not kept any more, and those of which a client has heard already', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const expired = await fail()
    const told = await fail()
    for (const { id } of [expired, told]) await age(store, id, 10_000)
    await store.redis.zadd(`${store.root}:expiry`, Date.now() - 1, expired.id)
    await store.redis.hset(`${store.root}:job:${told.id}`, 'reply', 'somewhere')
    expect(await openSchedule(store, [rule]).turn()).toBe(0)
    expect(await statusesOf(store, [expired.id, told.id])).toEqual(['failed', 'failed'])
  })

  it('leaves the jobs of a batch alone, whose lines are written by then', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const line = await fail({ group: `batch_${'0123456789abcdef'.repeat(2)}` })
    const other = await fail({ group: 'batch_of_mine' })
    for (const { id } of [line, other]) await age(store, id, 10_000)
    expect(await openSchedule(store, [rule]).turn()).toBe(1)
    expect(await statusesOf(store, [line.id, other.id])).toEqual(['failed', 'queued'])
    expect(await store.jobs.retry(TENANT, line.id)).toMatchObject({ kind: 'retried' })
  })

  it('announces the end of a redriven job once more', async () => {
    const store = await openTestStore()
    const { fail } = openFailing(store)
    const webhook = {
      url: 'https://r.example/',
      events: ['job.failed' as const, 'job.completed' as const],
    }
    const job = await fail({ webhook })
    await age(store, job.id, 10_000)
    expect(await openSchedule(store, [rule]).turn()).toBe(1)
    await complete(store, await store.start())
    const deliveries = await store.jobs.deliveries(TENANT, job.id)
    expect(deliveries?.map(({ event }) => event).sort()).toEqual(['job.completed', 'job.failed'])
  })
})
