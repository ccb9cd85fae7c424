import { expect, it } from 'vitest'
import { newJob, openTestStore } from '../../helpers/store.ts'

const JOBS = 5000

it('fails 5,000 jobs of a tenant whose deadlines pass at once in one pass, faster than they came', async () => {
  const store = await openTestStore()
  const deadline = Date.now() + 3_600_000
  const createdAt = performance.now()
  await store.jobs.createMany(Array.from({ length: JOBS }, () => newJob({ deadline })))
  const creationMs = performance.now() - createdAt
  // Redis' clock decides, so the deadlines are moved instead.
  const ids = await store.redis.zrange(`${store.root}:deadlines`, '0', '-1')
  expect(ids).toHaveLength(JOBS)
  await Promise.all(ids.map((id) => store.redis.hset(`${store.root}:job:${id}`, 'deadline', '1')))
  await store.redis.zadd(`${store.root}:deadlines`, 'XX', ...ids.flatMap((id) => ['1', id]))

  const since = performance.now()
  await store.maintenance.sweep()
  // About 0.6 s on a quiet machine.
  expect(performance.now() - since).toBeLessThan(Math.max(5000, 1.5 * creationMs))
  expect(await store.redis.zcard(`${store.root}:status:failed`)).toBe(JOBS)
  expect(await store.redis.zcard(`${store.root}:deadlines`)).toBe(0)
}, 60_000)
