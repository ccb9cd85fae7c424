import { expect, it } from 'vitest'
import { tenantRoot } from '../../../jobs/keys.ts'
import { createRetention } from '../../../jobs/retention.ts'
import { keysOf } from '../../helpers/redis.ts'
import { newJob, openTestStore, statusesOf, submit, TENANT, type TestStore } from '../../helpers/store.ts'

/** Cancelled jobs of a tenant. */
async function makeEnded(store: TestStore, count: number, tenant = TENANT): Promise<string[]> {
  await store.maintenance.register([tenant])
  const jobs = Array.from({ length: count }, (_, index) => newJob({ tenant, cache: 'off' }, `${index}`))
  const outcomes = await store.jobs.createMany(jobs)
  const ids = outcomes.map((outcome) => (outcome as { id: string }).id)
  await Promise.all(ids.map((id) => store.jobs.cancel(tenant, id)))
  return ids
}

/** As if their retention had ended by now. */
async function endRetention(store: TestStore, ids: string[], tenant = TENANT): Promise<void> {
  const places = ids.flatMap((id) => ['1', id])
  await store.redis.zadd(`${tenantRoot(store.prefix, tenant)}:expiry`, 'XX', ...places)
}

it('keeps what has not expired by the clock of Redis', async () => {
  const store = await openTestStore({ retainMs: 3_600_000 })
  const ids = await makeEnded(store, 20)
  expect(await store.retention.run()).toBe(0)
  expect(new Set(await statusesOf(store, ids))).toEqual(new Set(['cancelled']))
})

it('never takes a job that is queued again just when its retention ends', async () => {
  const store = await openTestStore()
  const ids = await makeEnded(store, 200)
  await endRetention(store, ids)
  // Both go through the jobs at the same time, from opposite ends.
  let isOver = false
  const sweeping = (async () => {
    while (!isOver) await store.retention.run()
  })()
  const answers = await Promise.all(ids.toReversed().map((id) => store.jobs.retry(TENANT, id)))
  isOver = true
  await sweeping
  const retried = answers.flatMap((answer) => (answer?.kind === 'retried' ? [answer.job.id] : []))
  expect(await statusesOf(store, retried)).toEqual(retried.map(() => 'queued'))
  // Jobs that were gone got that answer.
  expect(await store.redis.zcard(`${store.root}:jobs`)).toBe(retried.length)
})

it('keeps all 200 jobs that a sweeper has seen as expired and that are queued again before it reaches them', async () => {
  const store = await openTestStore()
  const ids = await makeEnded(store, 200)
  await endRetention(store, ids)
  const { scripts } = store
  let retrying: Promise<unknown> | null = null
  const retention = createRetention({
    ...store,
    scripts: {
      ...scripts,
      async runAll(...call) {
        retrying ??= Promise.all(ids.map((id) => store.jobs.retry(TENANT, id)))
        await retrying
        return scripts.runAll(...call)
      },
    },
    tenants: store.maintenance.tenants,
    onError(error) {
      throw error
    },
  })
  expect(await retention.run()).toBe(0)
  expect(retrying).not.toBeNull()
  expect(await statusesOf(store, ids)).toEqual(ids.map(() => 'queued'))
})

it('goes on until nothing has expired, faster than the jobs came, and lets other clients of Redis in between', async () => {
  const store = await openTestStore()
  const createdAt = performance.now()
  const ids = await makeEnded(store, 4_000)
  const creationMs = performance.now() - createdAt
  await endRetention(store, ids)
  let isOver = false
  let answers = 0
  const asking = (async () => {
    while (!isOver) {
      await store.redis.get('nothing')
      answers++
    }
  })()
  const since = performance.now()
  const removed = await store.retention.run().finally(() => {
    isOver = true
  })
  expect(removed).toBe(4_000)
  // On a quiet machine it is a second, and they take three to come.
  expect(performance.now() - since).toBeLessThan(Math.max(2_000, creationMs))
  await asking
  // 80 scripts of 50 jobs each, and a look of the others between most of them.
  expect(answers).toBeGreaterThan(10)
  expect(await keysOf(store.redis, `${store.root}:job:*`)).toEqual([])
  expect(await store.redis.zcard(`${store.root}:expiry`)).toBe(0)
}, 60_000)

it('serves tenants in turns, and one whose keys are broken does not keep the jobs of others', async () => {
  const store = await openTestStore()
  await store.maintenance.register(['broken'])
  await store.redis.set(`${tenantRoot(store.prefix, 'broken')}:expiry`, 'no sorted set')
  for (const tenant of [TENANT, 'other'])
    await endRetention(store, await makeEnded(store, 300, tenant), tenant)
  const errors: string[] = []
  const turns: string[] = []
  const retention = createRetention({
    ...store,
    scripts: {
      ...store.scripts,
      runAll(name, calls) {
        if (calls[0]!.root !== tenantRoot(store.prefix, 'broken')) turns.push(calls[0]!.root)
        return store.scripts.runAll(name, calls)
      },
    },
    tenants: store.maintenance.tenants,
    onError: (_error, tenant) => errors.push(tenant),
  })
  expect(await retention.run()).toBe(600)
  expect(errors).toEqual(['broken'])
  expect(turns).toHaveLength(6)
  for (const [index, root] of turns.entries()) expect(root).not.toBe(turns[index + 1])
})

it('drops a place whose job is gone', async () => {
  const store = await openTestStore()
  const job = await submit(store)
  await store.redis.zadd(`${store.root}:expiry`, 1, 'job_gone', 1, job.id)
  await store.retention.run()
  expect(await statusesOf(store, [job.id])).toEqual(['queued'])
  expect(await store.redis.zcard(`${store.root}:expiry`)).toBe(0)
})
