import { expect, it } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import type { LaneState } from '../../../ratelimit/lane-state.ts'
import type { FaultRule } from '../../../simulator/options.ts'
import { submit, TENANT, type TestStore, until } from '../../helpers/store.ts'
import { ended, openWorkshop } from './fixture.ts'

type ServiceTier = 'standard' | 'flex' | 'priority'
const TIERS: ServiceTier[] = ['standard', 'flex', 'priority']

const MODELS = TIERS.map((shut) => `of-${shut}: { tiers: { flex: { fall_back_after: 1h } } }`).join(
  '\n      ',
)
const laneOf = (shut: ServiceTier) => `sim/of-${shut}`

/** More than a worker has in hand, and more than it sets aside. */
const MANY = 100

function enter(store: TestStore, lane: string, tier: ServiceTier, text: string) {
  const members = tier === 'standard' ? {} : { service_tier: tier }
  return submit(store, {
    lane,
    model: lane,
    body: { model: lane, messages: [{ role: 'user', content: `${tier} on ${lane} ${text}` }], ...members },
    cost: {
      ...{ tokens: 20, inputTokens: 10, outputTokens: 10, inputs: 1, coalesceKey: null },
      ...(tier === 'flex' ? { tier } : {}),
      ...(tier === 'priority' ? { serviceTier: tier } : {}),
    },
    maxAttempts: 1000,
  })
}

const tierIn = (state: LaneState, tier: ServiceTier) =>
  tier === 'standard' ? state : state.tiers.find(({ name }) => name === tier)

it.each<[string, Pick<FaultRule, 'kind' | 'retry_after'>]>([
  ['a 429', { kind: '429', retry_after: 60_000 }],
  ['a run of 5xx', { kind: '500' }],
])('%s of one tier holds up no jobs of other tiers that wait behind it', async (_, fault) => {
  const { store, gate, config, simulator, work } = await openWorkshop({ model: MODELS })
  simulator.setFaults(TIERS.map((shut) => ({ ...fault, match: `"${shut} on ${laneOf(shut)} ` })))

  async function check(shut: ServiceTier): Promise<() => Promise<void>> {
    const id = laneOf(shut)
    const lane = resolveLane(config, id)!
    const held = await Promise.all(Array.from({ length: MANY }, (_, i) => enter(store, id, shut, String(i))))
    await until(async () => (tierIn(await gate.read(lane), shut)?.pausedUntil ?? null) !== null, 15_000)
    const others = TIERS.filter((tier) => tier !== shut)
    const free = await Promise.all(
      others.flatMap((tier) => Array.from({ length: 8 }, (_, i) => enter(store, id, tier, String(i)))),
    )
    for (const one of free)
      expect(await ended(store, one.id)).toMatchObject({ status: 'completed', attempts: 1 })
    const state = await gate.read(lane)
    for (const tier of others) expect(tierIn(state, tier)?.pausedUntil ?? null, tier).toBeNull()
    const last = held.at(-1)!.id
    expect((await store.jobs.get(TENANT, last))!.status).toBe('queued')

    return async () => {
      await gate.resume(lane)
      await store.queues.promote(id, Date.now() + 120_000)
      expect((await ended(store, last)).status).toBe('completed')
    }
  }

  await work()
  const reopen = await Promise.all(TIERS.map(check))
  simulator.setFaults([])
  await Promise.all(reopen.map((open) => open()))
})

it('a job whose tier is shut for longer than its time to fall back goes at standard', async () => {
  const lane = 'sim/hasty'
  const { store, simulator, work } = await openWorkshop({
    model: 'hasty: { tiers: { flex: { fall_back_after: 300ms } } }',
  })
  simulator.setFaults([{ kind: '429', retry_after: 60_000, match: '"flex on ', times: 1 }])
  await work()
  const first = await enter(store, lane, 'flex', 'first')
  await until(async () => ((await store.jobs.attempts(TENANT, first.id)) ?? []).length > 0)
  const second = await enter(store, lane, 'flex', 'second')
  for (const { id } of [first, second]) expect((await ended(store, id)).status).toBe('completed')
  expect(await store.jobs.attempts(TENANT, second.id)).toMatchObject([
    { outcome: 'completed', tier: 'standard' },
  ])
})
