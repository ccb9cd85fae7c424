import { expect, it, vi } from 'vitest'
import { createSnapshots, type SnapshotDeps } from '../../../../api/overview/snapshot.ts'
import type { FailureCounts } from '../../../../jobs/failed.ts'
import { parseTestConfig } from '../../../helpers/api.ts'

const counts = { scheduled: 0, queued: 0, running: 0, completed: 0, failed: 1, cancelled: 0 }
const failures: FailureCounts = {
  total: 1,
  counted_at: '2026-11-24T00:00:00.000Z',
  classes: [
    {
      lane: 'openai/small',
      code: 'boom',
      count: 1,
      first_at: '2026-11-24T00:00:00.000Z',
      last_at: '2026-11-24T00:00:00.000Z',
      retryable: true,
    },
  ],
}

it('shows new groups while the failures are still being counted', async () => {
  const counted = Promise.withResolvers<FailureCounts>()
  let time = 0
  let group = 'one'
  const config = parseTestConfig()
  const errors: unknown[] = []
  const deps: SnapshotDeps = {
    config: () => config,
    lanes: { list: async () => [] },
    tenantStats: {
      read: async (tenants) =>
        tenants.map((tenant) => ({
          tenant,
          counts,
          spentUsd: 0,
          reservedUsd: 0,
          finishedPerMinute: 0,
          parked: 0,
          pausedUntil: null,
          pausedReason: null,
        })),
      recentGroups: async ([tenant]) => [{ tenant: tenant!, group, updatedAt: '2026-11-24T00:00:00.000Z' }],
    },
    jobs: {
      group: async (_tenant, name) => ({
        group: name,
        total: 1,
        counts,
        cost_usd: 0,
        unpriced_calls: 0,
        estimated_finish_at: null,
      }),
      failures: () => counted.promise,
    },
    batches: { recent: async () => [], get: async () => null },
    historyState: {
      read: async () => ({ fails: 'writes', since: 1_000, error: 'disk full' }),
      waiting: async () => ({ jobs: 7, since: 2_000 }),
    },
    readMaintainer: async () => null,
    onError: (error) => errors.push(error),
    now: () => time,
  }
  const take = createSnapshots(deps)
  const { groups, history } = await take()
  expect(groups).toMatchObject([{ group: 'one' }])
  expect(history).toEqual({
    status: 'unavailable',
    unavailable_since: '1970-01-01T00:00:01.000Z',
    ...{ fails: 'writes', error: 'disk full' },
    waiting_jobs: 7,
    waiting_since: '1970-01-01T00:00:02.000Z',
  })
  group = 'two'
  await vi.waitFor(
    async () => {
      time += 20_000
      expect(await take()).toMatchObject({ groups: [{ group: 'two' }], failures: [] })
    },
    { timeout: 15_000 },
  )
  counted.resolve(failures)
  await vi.waitFor(
    async () => expect((await take()).failures).toMatchObject([{ code: 'boom', count: 1 }]),
    15_000,
  )
  expect(errors).toEqual([])
})
