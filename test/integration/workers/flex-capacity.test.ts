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
])('a flex call that %s has no capacity for harms nobody else, and counts as no attempt', async (_, kind) => {
  const faults = [{ kind, match: '"service_tier":"flex"', times: 12 }]
  const { store, simulator, config, gate, work } = await openWorkshop({ simulator: { faults } })
  await work()
  const flex = await Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      submit(store, { body: bodyOf(`flex ${at}`, { service_tier: 'flex' }), maxAttempts: 1 }),
    ),
  )
  await until(async () => simulator.state().faults[kind] === 12)
  const since = performance.now()
  for (let at = 0; at < 5; at += 1) {
    const { id } = await submit(store, { body: bodyOf(`standard ${at}`) })
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
  }
  // The tier's back-off is a second at the least.
  expect(performance.now() - since).toBeLessThan(900)
  const state = await gate.read(resolveLane(config, LANE)!)
  expect(state).toMatchObject({ pausedUntil: null, speed: 1, throttled: 0 })
  expect(state.breaker).toMatchObject({ state: 'closed', failures: 0 })
  for (const { id } of flex) {
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    expect(await store.jobs.attempts(TENANT, id)).toHaveLength(2)
  }
})
