import { describe, expect, it } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import type { Tier } from '../../../jobs/job.ts'
import type { FaultRule } from '../../../simulator/options.ts'
import { submit, TENANT, type TestStore, until } from '../../helpers/store.ts'
import { ended, openWorkshop } from './fixture.ts'

const LANE = 'sim/chat-flex'
const MODEL = 'chat-flex: { tiers: { flex: { fall_back_after: 1h } } }'

/** More than a worker has in hand, and more than it may put aside. */
const MANY = 150

function enter(store: TestStore, tier: Tier | 'priority', text: string) {
  const members = tier === 'standard' ? {} : { service_tier: tier }
  const cost = { tokens: 20, inputTokens: 10, outputTokens: 10, inputs: 1, coalesceKey: null }
  return submit(store, {
    lane: LANE,
    model: LANE,
    body: { model: LANE, messages: [{ role: 'user', content: `${tier} ${text}` }], ...members },
    cost: {
      ...cost,
      ...(tier === 'flex' ? { tier } : {}),
      ...(tier === 'priority' ? { serviceTier: tier } : {}),
    },
    maxAttempts: 1000,
  })
}

const matchOf = (tier: string) => `"${tier} `
const CAUSES: [string, Pick<FaultRule, 'kind' | 'retry_after'>][] = [
  ['a 429', { kind: '429', retry_after: 60_000 }],
  ['a run of 5xx', { kind: '500' }],
]

describe.each(CAUSES)('%s', (_, fault) => {
  it.each<[Tier | 'priority', Tier | 'priority']>([
    ['flex', 'standard'],
    ['priority', 'standard'],
    ['standard', 'flex'],
    ['standard', 'priority'],
    ['flex', 'priority'],
  ])('of %s holds up no jobs of %s that wait behind it', async (shut, other) => {
    const { store, gate, config, simulator, work } = await openWorkshop({ model: MODEL })
    simulator.setFaults([{ ...fault, match: matchOf(shut) }])
    const lane = resolveLane(config, LANE)!
    const held = await Promise.all(Array.from({ length: MANY }, (_, i) => enter(store, shut, String(i))))
    await work()
    await until(async () => {
      const state = await gate.read(lane)
      const tier = shut === 'standard' ? state : state.tiers.find(({ name }) => name === shut)
      return tier !== undefined && tier.pausedUntil !== null
    })
    const free = await Promise.all(Array.from({ length: 20 }, (_, i) => enter(store, other, String(i))))
    for (const { id } of free) {
      expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    }
    const state = await gate.read(lane)
    const open = other === 'standard' ? state : state.tiers.find(({ name }) => name === other)
    expect(open?.pausedUntil ?? null).toBeNull()
    expect((await store.jobs.get(TENANT, held.at(-1)!.id))!.status).toBe('queued')

    simulator.setFaults([])
    await gate.resume(lane)
    await store.queues.promote(LANE, Date.now() + 120_000)
    for (const { id } of held) expect((await ended(store, id)).status).toBe('completed')
  })
})

it('a job whose tier is shut for longer than its time to fall back goes at standard', async () => {
  const faults = [{ kind: '429' as const, retry_after: 60_000, match: matchOf('flex'), times: 1 }]
  const model = 'chat-flex: { tiers: { flex: { fall_back_after: 300ms } } }'
  const { store, work } = await openWorkshop({ simulator: { faults }, model })
  await work()
  const first = await enter(store, 'flex', 'first')
  await until(async () => (await store.jobs.attempts(TENANT, first.id)).length > 0)
  const second = await enter(store, 'flex', 'second')
  for (const { id } of [first, second]) expect((await ended(store, id)).status).toBe('completed')
  expect(await store.jobs.attempts(TENANT, second.id)).toMatchObject([
    { outcome: 'completed', tier: 'standard' },
  ])
})
