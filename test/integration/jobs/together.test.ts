import { expect, it } from 'vitest'
import type { Held } from '../../../jobs/queue-entry.ts'
import {
  complete,
  fail,
  intent,
  LANE,
  newJob,
  openTestStore,
  read,
  submit,
  success,
  TENANT,
  until,
} from '../../helpers/store.ts'

/** Jobs with different prompts, fetched together. */
async function fetchMany(count: number) {
  const store = await openTestStore()
  const jobs: string[] = []
  for (let at = 0; at < count; at++) jobs.push((await submit(store, {}, `prompt ${at}`)).id)
  let held = await store.lane().fetch(count)
  await until(async () => {
    held = [...held, ...(await store.lane().fetch(count - held.length || 1))]
    return held.length === count
  })
  return { store, jobs, held: held.toSorted((a, b) => jobs.indexOf(a.id) - jobs.indexOf(b.id)) }
}

it('jobs that are claimed together are claimed as each would be alone', async () => {
  const { store, jobs, held } = await fetchMany(40)
  await store.jobs.cancel(TENANT, jobs[1]!)
  await store.redis.hset(`${store.root}:job:${jobs[2]}`, 'ready_at', Date.now() + 60_000)
  const started = await Promise.all(held.map((one) => store.work.start([one], intent)))
  const kinds = started.map(([one]) => one!.kind)
  expect(kinds).toEqual(['run', 'done', 'wait', ...Array(37).fill('run')])
  const claimed = started.flatMap(([one]) => (one!.kind === 'run' ? [one!.claimed] : []))
  expect(claimed.map(({ id, call }) => [id, call])).toEqual(
    jobs.filter((_, at) => at !== 1 && at !== 2).map((id) => [id, 1]),
  )
  expect((await read(store, jobs[0]!)).status).toBe('running')
})

it('a record that cannot be read prevents no claim beside it', async () => {
  const { store, jobs, held } = await fetchMany(3)
  await store.redis.set(`${store.root}:job:${jobs[1]}:attempts`, 'no hash')
  const started = await Promise.allSettled(held.map((one) => store.work.start([one], intent)))
  expect(started.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  for (const id of [jobs[0]!, jobs[2]!]) {
    expect((await read(store, id)).status).toBe('running')
    expect(await store.jobs.attempts(TENANT, id)).toHaveLength(1)
  }
})

it('jobs that are accepted together are accepted as each would be alone', async () => {
  const store = await openTestStore()
  const limits = { maxQueued: 6, requestsPerMinute: null, budgetUsdPerDay: null }
  const outcomes = await store.jobs.createMany([
    newJob({ limits }, 'a'),
    newJob({ limits, idempotencyKey: 'key' }, 'b'),
    // Follows the first, and is the second once more.
    newJob({ limits }, 'a'),
    newJob({ limits, idempotencyKey: 'key' }, 'b'),
    newJob({ limits, idempotencyKey: 'key' }, 'c'),
    newJob({ limits, delayMs: 60_000 }, 'd'),
    newJob({ limits, group: 'nightly' }, 'e'),
    newJob({ limits, deadline: Date.now() + 60_000 }, 'f'),
    newJob({ limits }, 'one too many'),
  ])
  expect(outcomes.map((one) => ('status' in one ? one.status : one.kind))).toEqual([
    ...['queued', 'queued', 'queued', 'queued', 'conflict', 'scheduled', 'queued', 'queued', 'refused'],
  ])
  const ids = outcomes.flatMap((one) => ('id' in one ? [one.id] : []))
  expect(ids[3]).toBe(ids[1])
  expect(await store.redis.zcard(`${store.root}:status:queued`)).toBe(5)
  expect(await store.redis.zcard(`${store.root}:status:scheduled`)).toBe(1)
  expect(await store.redis.zcard(`${store.root}:jobs`)).toBe(6)
  expect((await read(store, ids[2]!)).cache).toBe('shared')
  expect(await store.jobs.countOpen(TENANT, 'nightly')).toBe(1)
})

it('results that come together are stored as each would be alone, and money and outputs are summed', async () => {
  const { store, jobs, held } = await fetchMany(5)
  const started = await Promise.all(held.map((one) => store.work.start([one], intent)))
  const running = started.map(([one], at) => {
    if (one!.kind !== 'run') throw new Error(one!.kind)
    return { held: held[at]!, claimed: one!.claimed }
  })
  // Its event cannot be written.
  await store.redis.del(`${store.root}:job:${jobs[2]}:events`)
  await store.redis.set(`${store.root}:job:${jobs[2]}:events`, 'no list')
  const stored = await Promise.allSettled([
    ...running.slice(0, 4).map((one) => complete(store, one)),
    fail(store, running[4]!),
  ])
  // At the second sending it is known to have ended.
  expect(stored.map(({ status }) => status)).toEqual(Array(5).fill('fulfilled'))
  const statuses = await store.jobs.statuses(TENANT, [...jobs])
  expect(statuses).toEqual([...Array(4).fill('completed'), 'failed'])
  // What the script had gathered is written even if it failed: each job is in the index that its record names.
  for (const [at, id] of jobs.entries()) {
    expect(await store.redis.zscore(`${store.root}:status:${statuses[at]}`, id), `${at}`).not.toBeNull()
  }
  const spent = Number(
    await store.redis.get(`${store.root}:money:spent:${Math.floor(Date.now() / 86_400_000)}`),
  )
  expect(spent).toBe(4 * success.cost_usd! * 1e9)
  expect(
    await store.redis.pttl(`${store.root}:money:spent:${Math.floor(Date.now() / 86_400_000)}`),
  ).toBeGreaterThan(0)
})

it('of entries that are released together those stay that another worker has by now', async () => {
  const { store, held } = await fetchMany(3)
  const key = (name: string) => `${store.prefix}:{l:${LANE}}:calls:${name}`
  const entries = held.map(({ id, entry }) => `${id}-${entry}`)
  await store.redis.set(key(`${entries[1]}:lock`), 'of another')
  await store.redis.del(key(`${entries[2]}:lock`))
  await Promise.all(held.map((one) => store.lane().acknowledge(one)))
  expect(await store.redis.lrange(key('active'), 0, -1)).toEqual([entries[2], entries[1]])
  expect(await store.redis.exists(key(entries[0]!), key(`${entries[0]}:lock`))).toBe(0)
  expect(await store.redis.exists(key(entries[1]!), key(entries[2]!))).toBe(2)
})

it('an index that cannot be written keeps no job beside it from its place in the outbox', async () => {
  const store = await openTestStore()
  const accepted: string[] = []
  // A script writes its indexes in random order.
  for (let round = 0; round < 20; round++) {
    const group = `spoilt-${round}`
    await store.redis.set(`${store.root}:group:${group}:jobs`, 'no sorted set')
    const jobs = Array.from({ length: 4 }, (_, at) => newJob(at === 1 ? { group } : {}, `${round} ${at}`))
    const outcomes = await store.jobs.createMany(jobs)
    accepted.push(...outcomes.flatMap((one) => ('id' in one ? [one.id] : [])))
  }
  expect(accepted.length).toBeGreaterThanOrEqual(60)
  const queued = new Set<string>()
  await until(async () => {
    await store.outbox.sweep(TENANT, 0)
    for (const { id } of await store.lane().fetch(40)) queued.add(id)
    return queued.size >= accepted.length
  })
  expect(queued).toEqual(new Set(accepted))
})

it('a job that another takes over in the same script is claimed as it is after that', async () => {
  const store = await openTestStore()
  const cost = { ...newJob().cost, flex: { until: null, fallBackAfter: 3_600_000, timeout: 600_000 } }
  const patient = await submit(store, { cost, estimateUsd: 1 })
  const due = await submit(store, { delayMs: 50, estimateUsd: 2 })
  const held: Held[] = []
  await until(async () => {
    await store.outbox.sweep(TENANT, 0)
    held.push(...(await store.lane().fetch(2)))
    return held.length === 2
  })
  const inOrder = [due, patient].map(({ id }) => held.find((one) => one.id === id)!)
  const started = await Promise.all(inOrder.map((one) => store.work.start([one], intent)))
  expect(started.map(([one]) => one!.kind)).toEqual(['run', 'done'])
  expect((await read(store, due.id)).status).toBe('running')
  expect(await read(store, patient.id)).toMatchObject({ status: 'queued', attempts: 0 })
  // What was reserved for the other is free, once.
  expect(Number(await store.redis.get(`${store.root}:money:reserved`))).toBe(2e9)
})

it('answers to equal requests that are stored together are each kept for their own job', async () => {
  const store = await openTestStore()
  const outcomes = await store.jobs.createMany([1, 2].map(() => newJob({ cache: 'refresh' })))
  const running = [await store.start(), await store.start()]
  await Promise.all(running.map((one, at) => complete(store, one, { answer: at })))
  for (const [at, { claimed }] of running.entries()) {
    expect(await read(store, claimed.id)).toMatchObject({ status: 'completed', result: { answer: at } })
  }
  expect(outcomes.map(({ kind }) => kind)).toEqual(['created', 'created'])
})
