import { expect, it, onTestFinished } from 'vitest'
import { createOverviewHistory, HOURS, RECENT } from '../../api/overview/history.ts'
import { tenantsKey } from '../../jobs/keys.ts'
import { createOverviewHistoryTask } from '../../services/overview-history.ts'
import { chatJob, createTestApi } from '../helpers/api.ts'
import { testRedis } from '../helpers/redis.ts'

it('the server remembers the recent past, up to a bound, for every page that is opened', async () => {
  const place = testRedis()
  const { prefix } = place
  const api = await createTestApi({ place })
  onTestFinished(() => api.close())
  const { redis } = api
  const history = createOverviewHistory({ redis, prefix })
  let now = Date.UTC(2026, 10, 24)
  const task = createOverviewHistoryTask({
    ...{ history, lanes: api.deps.lanes, tenantStats: api.deps.tenants.stats, now: () => now },
    tenants: () => redis.smembers(tenantsKey(prefix)),
    activeTenants: async () => ['default'],
  })
  const { signal } = new AbortController()
  const read = async () => (await api.app.inject({ url: '/v1/overview/history' })).json()
  expect(await read()).toEqual({ object: 'overview_history', recent: [], hours: [] })

  await redis.sadd(tenantsKey(prefix), 'default')
  await task.run(signal)
  const made = await api.app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob() })
  expect(made.statusCode).toBe(202)
  await expect.poll(async () => (await api.deps.lanes.get('openai/small'))!.backlog.waiting).toBe(1)
  for (let sample = 0; sample < RECENT.most + 10; sample++) {
    now += RECENT.everyMs
    await task.run(signal)
  }
  const { recent, hours } = await read()
  expect(recent).toHaveLength(RECENT.most)
  expect(recent.at(-1)).toMatchObject({
    at: new Date(now).toISOString(),
    total: { waiting: 1, in_flight: 0 },
    lanes: { 'openai/small': { waiting: 1, in_flight: 0, paused: false } },
  })
  // Every eighth, with the first; idle lanes are in none.
  expect(hours).toHaveLength(1 + Math.floor((RECENT.most + 10) / (HOURS.everyMs / RECENT.everyMs)))
  expect(hours[0].lanes).toEqual({})
  for (const [name, { everyMs, most }] of Object.entries({ recent: RECENT, hours: HOURS })) {
    const left = await redis.pttl(`${prefix}:{overview}:${name}`)
    expect(left).toBeGreaterThan(everyMs * most - 5_000)
  }
})
