import { expect, it } from 'vitest'
import { createTenantStatsReader } from '../../../jobs/tenant-stats.ts'
import { complete, openTestStore, submit, TENANT } from '../../helpers/store.ts'

const DAY_MS = 86_400_000

it('does not count as new what ended over a minute ago, or when jobs were kept for longer', async () => {
  const store = await openTestStore()
  const jobs = [
    await submit(store, {}, 'old'),
    await submit(store, {}, 'new'),
    await submit(store, {}, 'past'),
  ]
  for (const _ of jobs) await complete(store, await store.start())
  const retainMs = DAY_MS
  // One ended two days ago, when jobs were kept for a week; one just now, and one over a minute ago.
  await store.redis.zadd(`${store.root}:expiry`, Date.now() + 5 * DAY_MS, jobs[0]!.id)
  await store.redis.zadd(`${store.root}:expiry`, Date.now() + retainMs - 1_000, jobs[1]!.id)
  await store.redis.zadd(`${store.root}:expiry`, Date.now() + retainMs - 61_000, jobs[2]!.id)
  const tenantStats = createTenantStatsReader({ ...store, retainMs: () => retainMs })
  const [stats] = await tenantStats.read([TENANT])
  expect(stats).toMatchObject({ counts: { completed: 3 }, finishedPerMinute: 1 })
})
