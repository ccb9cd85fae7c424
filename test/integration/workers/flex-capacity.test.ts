import { expect, it } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import type { FaultKind } from '../../../simulator/options.ts'
import { LANE, submit, TENANT, until } from '../../helpers/store.ts'
import { ended, openWorkshop } from './fixture.ts'

const bodyOf = (text: string, members = {}) => ({
  model: LANE,
  messages: [{ role: 'user', content: text }],
  ...members,
})

it.each<[string, FaultKind]>([
  ['OpenAI', 'flex_unavailable'],
  ['Groq', '498'],
])('a flex call for which %s has no capacity harms no other job, and is not an attempt', async (_, kind) => {
  const faults = [{ kind, match: '"service_tier":"flex"', times: 12 }]
  const { store, simulator, config, gate, work } = await openWorkshop({ simulator: { faults } })
  await work()
  const flex = await Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      submit(store, { body: bodyOf(`flex ${at}`, { service_tier: 'flex' }), maxAttempts: 1 }),
    ),
  )
  await until(async () => simulator.state().faults[kind] === 12)
  const startOf = async (id: string, attempt: number) =>
    Date.parse((await store.jobs.attempts(TENANT, id))![attempt]!.started_at)
  let firstStartedAt = Number.NaN
  for (let at = 0; at < 5; at += 1) {
    const { id } = await submit(store, { body: bodyOf(`standard ${at}`) })
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    if (at === 0) firstStartedAt = await startOf(id, 0)
  }
  const state = await gate.read(resolveLane(config, LANE)!)
  expect(state).toMatchObject({ pausedUntil: null, speed: 1, throttled: 0 })
  expect(state.breaker).toMatchObject({ state: 'closed', failures: 0 })
  for (const { id } of flex) {
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    expect(await store.jobs.attempts(TENANT, id)).toHaveLength(2)
    // The tier's back-off is a second at the least; the standard call did not wait for its end.
    expect(await startOf(id, 1)).toBeGreaterThan(firstStartedAt)
  }
})

it('a job of tier flex goes at standard once its time to fall back has come, and not later', async () => {
  const faults = [{ kind: 'flex_unavailable' as const, match: '"service_tier":"flex"' }]
  const model = 'chat-flex: { tiers: { flex: { fall_back_after: 300ms } } }'
  const { store, simulator, work } = await openWorkshop({ simulator: { faults }, model })
  await work()
  const lane = 'sim/chat-flex'
  const cost = {
    tokens: 20,
    inputTokens: 10,
    outputTokens: 10,
    inputs: 1,
    coalesceKey: null,
    tier: 'flex' as const,
  }
  const { id } = await submit(store, {
    lane,
    model: lane,
    body: bodyOf('late', { model: lane, service_tier: 'flex' }),
    cost,
    maxAttempts: 1,
  })
  expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
  expect(simulator.state().faults.flex_unavailable).toBe(1)
  expect(await store.jobs.attempts(TENANT, id)).toMatchObject([
    { outcome: 'retryable', error_code: 'resource_unavailable', tier: 'flex' },
    { outcome: 'completed', tier: 'standard' },
  ])
  // The back-off after a first miss is a second.
  const [first, second] = (await store.jobs.attempts(TENANT, id))!.map((one) => Date.parse(one.started_at))
  expect(second! - first!).toBeLessThan(1000)
})
