import { expect, it } from 'vitest'
import type { Claimed } from '../../../jobs/claim.ts'
import type { FairKeyLimits } from '../../../jobs/fair-key.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import { keysOf } from '../../helpers/redis.ts'
import { seed } from '../../helpers/seed.ts'
import {
  failure,
  intent,
  LANE,
  newJob,
  openTestStore,
  read,
  retryNow,
  submit,
  success,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'

const OTHER = 'sim/other'
const none: FairKeyLimits = { maxRunning: null, maxQueued: null, requestsPerMinute: null }

function ofKey(
  fairKey: string,
  limits: Partial<FairKeyLimits>,
  members: Partial<NewJob> = {},
): Partial<NewJob> {
  const own = { maxQueued: 1_000_000, requestsPerMinute: null, budgetUsdPerDay: null }
  return { fairKey, limits: { ...own, perFairKey: { ...none, ...limits } }, ...members }
}

/** A worker of two lanes over a store, by hand. */
async function openWorker(limits: Partial<FairKeyLimits>) {
  const store = await openTestStore()
  const work = store.openWork({ fairKeyLimitsOf: () => ({ ...none, ...limits }) })
  const other = store.queues.consume(OTHER, { onStalled() {}, onError() {} })
  const queues: Record<string, ReturnType<TestStore['lane']>> = { [LANE]: store.lane(), [OTHER]: other }
  /** Claims up to so many entries of a lane; answers those that run. */
  async function claim(lane: string, count: number): Promise<Claimed[]> {
    await store.outbox.idle()
    const queue = queues[lane]!
    const held = await queue.fetch(count)
    const started = await work.start(held, { ...intent, model: lane.slice('sim/'.length) })
    const claimed: Claimed[] = []
    for (const [at, one] of started.entries()) {
      if (one.kind === 'wait') await queue.delay(held[at]!, one.at)
      else await queue.acknowledge(held[at]!)
      if (one.kind === 'run') claimed.push(one.claimed)
    }
    return claimed
  }
  const end = (claimed: Claimed) =>
    work.complete([{ claimed, end: success, result: { answer: claimed.id }, usage: null, costUsd: 0 }])
  return { store, work, claim, end, close: () => other.close() }
}

async function countKeys(store: TestStore): Promise<string[]> {
  return (await keysOf(store.redis, `${store.prefix}:*`)).filter((key) => key.includes(':fair-key:'))
}

it('no key runs more jobs than it may, and every job ends, in every state and in every lane', async () => {
  let state = seed
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const maxRunning = 2
  const { store, work, claim, end, close } = await openWorker({ maxRunning })
  const made: string[] = []
  let running: Claimed[] = []
  const take = () => running.splice(Math.floor(random() * running.length), 1)[0]
  const steps: (() => Promise<unknown>)[] = [
    async () => {
      const jobs = Array.from({ length: 1 + Math.floor(random() * 6) }, () => {
        const lane = pick([LANE, OTHER])
        const delay = random() < 0.1 ? { delayMs: 1 } : {}
        const members = { lane, model: lane, priority: pick(['high', 'normal', 'low'] as const), ...delay }
        // Only a few prompts, so that many are equal to others, also of other keys.
        return newJob(
          ofKey(pick(['ann', 'bob', 'cid']), { maxRunning }, members),
          `prompt ${Math.floor(random() * 40)}`,
        )
      })
      for (const one of await store.jobs.createMany(jobs)) if ('id' in one) made.push(one.id)
    },
    async () => running.push(...(await claim(pick([LANE, OTHER]), 1 + Math.floor(random() * 4)))),
    async () => running.push(...(await claim(pick([LANE, OTHER]), 1 + Math.floor(random() * 4)))),
    async () => {
      const one = take()
      if (one) await end(one)
    },
    async () => {
      const one = take()
      if (!one) return
      const moved = random() < 0.4 ? { lane: one.lane === LANE ? OTHER : LANE } : {}
      const waits = await work.requeue(one, failure, { ...retryNow, countsAsAttempt: false, ...moved })
      if (waits) await store.maintenance.sweep()
    },
    async () => {
      const one = take()
      if (one)
        await work.fail(
          one,
          failure,
          { code: 'x', message: 'x', provider_status: 500, retryable: true },
          random() < 0.5,
        )
    },
    async () => made.length > 0 && (await store.jobs.cancel(TENANT, pick(made))),
    async () => made.length > 0 && random() < 0.3 && (await store.jobs.remove(TENANT, pick(made))),
    async () => made.length > 0 && (await store.jobs.retry(TENANT, pick(made))),
  ]
  const check = async () => {
    const counts = (await countKeys(store)).map((key) => store.redis.hget(key, 'running').catch(() => null))
    for (const count of await Promise.all(counts)) expect(Number(count ?? 0)).toBeLessThanOrEqual(maxRunning)
  }
  for (let step = 0; step < 250; step++) {
    await pick(steps)()
    await check()
  }
  const open = async () =>
    (await store.redis.zcard(`${store.root}:status:queued`)) +
    (await store.redis.zcard(`${store.root}:status:scheduled`)) +
    (await store.redis.zcard(`${store.root}:status:running`))
  await until(async () => {
    for (const lane of [LANE, OTHER]) running.push(...(await claim(lane, 8)))
    for (const one of running) await end(one)
    running = []
    if ((await open()) > 0) await store.maintenance.sweep()
    return (await open()) === 0
  }, 60_000)
  expect(await countKeys(store)).toEqual([])
  expect(Number(await store.redis.get(`${store.root}:fair-keys:parked`))).toBe(0)
  await close()
})

it('a flood of one key has as many entries in its lane as it may run, and leaves them to others', async () => {
  const { store, claim, end, close } = await openWorker({ maxRunning: 2 })
  const flood = Array.from({ length: 50 }, (_, at) =>
    newJob(ofKey('flood', { maxRunning: 2 }), `flood ${at}`),
  )
  await store.jobs.createMany(flood)
  const quiet = await submit(store, ofKey('quiet', { maxRunning: 2 }), 'quiet')
  const first = await claim(LANE, 10)
  expect(first).toHaveLength(3)
  expect(first.map(({ id }) => id)).toContain(quiet.id)
  const waiting = (await store.jobs.list(TENANT, { status: 'queued' }, 100)).data
  expect(waiting).toHaveLength(48)
  expect(new Set(waiting.map((job) => job.waiting_for))).toEqual(new Set(['fair_key']))
  await end(first[0]!)
  await until(async () => (await claim(LANE, 10)).length === 1)
  await close()
})

it('one number of running calls counts for all lanes', async () => {
  const { store, claim, end, close } = await openWorker({ maxRunning: 2 })
  for (const lane of [LANE, OTHER])
    for (const text of ['a', 'b', 'c'])
      await submit(store, ofKey('ann', { maxRunning: 2 }, { lane, model: lane }), `${lane} ${text}`)
  const running = await claim(LANE, 1)
  running.push(...(await claim(OTHER, 4)), ...(await claim(LANE, 4)))
  expect(running).toHaveLength(2)
  let ended = 0
  await until(async () => {
    for (const one of running.splice(0)) {
      await end(one)
      ended++
    }
    for (const lane of [OTHER, LANE]) running.push(...(await claim(lane, 4)))
    expect(running.length).toBeLessThanOrEqual(2)
    return ended === 6
  })
  await close()
})

it('calls a minute: a burst of a minute at once, then one at a time when the bucket has it', async () => {
  const limits = { requestsPerMinute: 600 }
  const { store, claim, end, close } = await openWorker(limits)
  const bucket = `${store.root}:fair-key`
  await submit(store, ofKey('ann', limits), 'first')
  const [key] = await keysOf(store.redis, `${bucket}:*`)
  // A bucket that is almost empty, as after a burst.
  const began = performance.now()
  // In the future, so that nothing refills before the first two, which take it to exactly 0.
  await store.redis.hset(key!, { level: 2, at: Date.now() + 60_000 })
  const jobs = await Promise.all(
    Array.from({ length: 8 }, (_, at) => submit(store, ofKey('ann', limits), `prompt ${at}`)),
  )
  let count = 0
  await until(async () => {
    for (const one of await claim(LANE, 4)) {
      count++
      await end(one)
    }
    return count === 9
  })
  // Two at once, seven more at ten a second.
  expect(performance.now() - began).toBeGreaterThan(600)
  expect((await read(store, jobs.at(-1)!.id)).status).toBe('completed')
  expect(await store.redis.pttl(key!)).toBeGreaterThan(0)
  await close()
})

it('a job of another key does not wait for an equal one that is parked', async () => {
  const { store, claim, end, close } = await openWorker({ maxRunning: 1 })
  for (const text of ['a', 'b', 'same']) await submit(store, ofKey('flood', { maxRunning: 1 }), text)
  const own = await submit(store, ofKey('quiet', { maxRunning: 1 }), 'same')
  const claimed = await claim(LANE, 10)
  expect(claimed.map(({ id }) => id)).toContain(own.id)
  for (const one of claimed) await end(one)
  const done = (await store.jobs.list(TENANT, { status: 'completed' }, 100)).data
  // The parked one got its answer from it.
  expect(done.filter(({ fair_key }) => fair_key === 'flood')).toHaveLength(2)
  await close()
})

it('a limit that is lifted lets the parked jobs go', async () => {
  const { store, work: _, claim, close } = await openWorker({})
  await Promise.all(
    Array.from({ length: 5 }, (_, at) => submit(store, ofKey('ann', { maxRunning: 1 }), `prompt ${at}`)),
  )
  let count = 0
  await until(async () => {
    count += (await claim(LANE, 8)).length
    return count === 5
  })
  await close()
})

it('a key whose jobs wait is not lost when another one has used up what a script releases', async () => {
  const { store, claim, close } = await openWorker({})
  const keys = ['ann', 'bob']
  for (const key of keys) await submit(store, ofKey(key, { maxRunning: 1 }), `${key} first`)
  const parked = keys.flatMap((key) =>
    Array.from({ length: 102 }, (_, at) => newJob(ofKey(key, { maxRunning: 1 }), `${key} ${at}`)),
  )
  await store.jobs.createMany(parked)
  // The start of the two that run lifts the limit, in one script.
  let count = (await claim(LANE, 2)).length
  expect(count).toBe(2)
  await until(async () => {
    count += (await claim(LANE, 16)).length
    return count === 206
  })
  await close()
})

it('open jobs of a key are counted apart from those of the tenant', async () => {
  const { store, claim, end, close } = await openWorker({ maxQueued: 2 })
  const create = (key: string, text: string) => store.jobs.create(newJob(ofKey(key, { maxQueued: 2 }), text))
  const kinds = async (...keys: string[]) => {
    const outcomes = []
    for (const key of keys) outcomes.push(await create(key, `prompt ${Math.random()}`))
    return outcomes.map((one) => (one.kind === 'refused' ? one.code : one.kind))
  }
  expect(await kinds('ann', 'ann', 'ann', 'bob')).toEqual(['created', 'created', 'fair_key_full', 'created'])
  for (const one of await claim(LANE, 1)) await end(one)
  expect(await kinds('ann', 'ann')).toEqual(['created', 'fair_key_full'])
  await close()
})

it('a deadline is refused that comes before the calls a minute of the key let the job start', async () => {
  const store = await openTestStore()
  const limits = { requestsPerMinute: 2 }
  const create = (text: string, members: Partial<NewJob> = {}) =>
    store.jobs.create(newJob(ofKey('ann', limits, members), text))
  const deadlineIn = (ms: number) => ({ deadline: Date.now() + ms })
  // Two may begin at once; those behind them begin every half minute.
  for (const text of ['1', '2', '3']) expect((await create(text, deadlineIn(60_000))).kind).toBe('created')

  const refused = await create('4', deadlineIn(45_000))
  expect(refused).toMatchObject({ kind: 'refused', code: 'deadline_unreachable' })
  const { retryAfterMs } = refused as { retryAfterMs: number }
  expect(retryAfterMs).toBeGreaterThan(45_000)
  expect(retryAfterMs).toBeLessThanOrEqual(60_000)
  // A job that goes before those that wait, of another lane or another key; one that an equal job answers; and one
  // that may wait.
  const passing: [string, Partial<NewJob>][] = [
    ['5', { ...deadlineIn(45_000), fairKey: 'bob' }],
    ['3', deadlineIn(45_000)],
    ['6', deadlineIn(90_000)],
  ]
  for (const [text, members] of passing) expect((await create(text, members)).kind, text).toBe('created')
})
