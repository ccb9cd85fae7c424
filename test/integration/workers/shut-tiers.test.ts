import { expect, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { createEmitter } from '../../../lib/emitter.ts'
import type { Gate, TakeAnswer } from '../../../ratelimit/gate.ts'
import type { LaneState } from '../../../ratelimit/lane-state.ts'
import type { FaultRule } from '../../../simulator/options.ts'
import type { LaneEvents } from '../../../workers/after-refusal.ts'
import type { CallEvents } from '../../../workers/ended-call.ts'
import { submit, TENANT, type TestStore, until } from '../../helpers/store.ts'
import { ended, openWorkshop } from './fixture.ts'

type ServiceTier = 'standard' | 'flex' | 'priority'
const TIERS: ServiceTier[] = ['standard', 'flex', 'priority']

const MODELS = TIERS.map((shut) => `of-${shut}: { tiers: { flex: { fall_back_after: 1h } } }`).join(
  '\n      ',
)
const laneOf = (shut: ServiceTier) => `sim/of-${shut}`

/** The tiers that a worker with these events reports as shut, in that order. */
function hearShutTiers() {
  const noted: ServiceTier[] = []
  const events = createEmitter<LaneEvents & CallEvents>((error) => {
    throw error
  })
  events.on('tier.shut', ({ tier }) => noted.push(tier))
  return { noted, events }
}

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

const MINUTE = 60_000

/** The gate, which refuses some calls itself; and its answer for these. */
function refusing(
  gate: Gate,
  refuse: (tier: string, tenant: string) => Omit<TakeAnswer, 'permits'> | null,
): Gate {
  return {
    ...gate,
    async take(lane, requests) {
      const refusals: ReturnType<typeof refuse>[] = []
      const first = requests.findIndex(({ tier = 'standard', tenant = '' }, i) => {
        refusals[i] = refuse(tier, tenant)
        return refusals[i] !== null
      })
      if (first === -1) return gate.take(lane, requests)
      const answer = first === 0 ? null : await gate.take(lane, requests.slice(0, first))
      if (answer !== null && answer.permits.length < first) return answer
      return { ...refusals[first]!, permits: answer?.permits ?? [] }
    },
  }
}

const HELD_BACK: Omit<TakeAnswer, 'permits'> = {
  waitMs: 250,
  waitingFor: 'provider_pause',
  never: false,
  othersMay: true,
  otherTiersMay: true,
}

it('while the breakers of standard and of another tier hold a tenant back, the gate is asked in time, and jobs of others go', async () => {
  const lane = 'sim/of-flex'
  const { store, gate, work } = await openWorkshop({ model: MODELS })
  let isOver = false
  const refusedAt: number[] = []
  const shut = refusing(gate, (tier, tenant) => {
    if (isOver || tenant !== TENANT) return null
    if (tier === 'standard') refusedAt.push(performance.now())
    return HELD_BACK
  })
  const read: Gate['read'] = async (one) => {
    const state = await gate.read(one)
    return isOver ? state : { ...state, breaker: { ...state.breaker, heldTenants: [TENANT] } }
  }
  await work(undefined, { gate: { ...shut, read } })
  const flex = await enter(store, lane, 'flex', 'held')
  const held = await enter(store, lane, 'standard', 'held')
  // Each refusal costs a wait of 250 ms.
  await until(() => refusedAt.length >= 7)
  expect(refusedAt[6]! - refusedAt[1]!).toBeGreaterThan(500)
  const other = await submit(store, { tenant: 'globex', lane, model: lane })
  expect((await ended(store, other.id, 'globex')).status).toBe('completed')
  isOver = true
  for (const { id } of [flex, held]) expect((await ended(store, id)).status).toBe('completed')
})

it('a refusal belongs to the requested tier, though the job falls back in between', async () => {
  const lane = 'sim/of-flex'
  const { store, gate, work } = await openWorkshop({ model: MODELS })
  let passed = 0
  const shut = refusing(gate, (tier) => {
    if (tier !== 'flex') return null
    passed = 2 * MINUTE
    return { waitMs: 20 * MINUTE, waitingFor: 'provider_pause', never: false, otherTiersMay: true }
  })
  const { noted, events } = hearShutTiers()
  await work(undefined, {
    gate: shut,
    now: () => Date.now() + passed,
    events,
  })
  const { id } = await submit(store, {
    ...{ lane, model: lane },
    cost: {
      ...{ tokens: 20, inputTokens: 10, outputTokens: 10, inputs: 1, coalesceKey: null },
      ...{ tier: 'auto', flex: { until: Date.now() + MINUTE, fallBackAfter: MINUTE, timeout: MINUTE } },
    },
  })
  expect((await ended(store, id)).status).toBe('completed')
  expect(await store.jobs.attempts(TENANT, id)).toMatchObject([{ tier: 'standard' }])
  expect(noted).toEqual(['flex'])
})

it('a call that waits for its own source does not shut the tier of the others, and falls back in time', async () => {
  const id = 'sim/two'
  const { store, gate, config, work } = await openWorkshop({
    model:
      'two: { sources: [{ name: a }, { name: b, api_key: b }], tiers: { flex: { fall_back_after: 10m } } }',
  })
  const lane = resolveLane(config, id)!
  const cost = { requests: 1, tokens: 1, inputTokens: 1, outputTokens: 0 }
  const { permits } = await gate.take(lane, [{ cost, source: 'a', tier: 'flex' }])
  await gate.settle(lane, [{ permit: permits[0]!, actual: cost, throttledMs: 20 * MINUTE, tier: 'flex' }])
  const flex = {
    tokens: 20,
    inputTokens: 10,
    outputTokens: 10,
    inputs: 1,
    coalesceKey: null,
    tier: 'flex',
  } as const
  await submit(store, { lane: id, model: id, cost: { ...flex, source: 'a' } })
  const free = await submit(store, { lane: id, model: id, cost: flex }, 'free')
  const { noted, events } = hearShutTiers()
  await work(undefined, { events })
  expect((await ended(store, free.id)).status).toBe('completed')
  const queue = store.queues.consume(id, { onStalled() {}, onError() {} })
  onTestFinished(() => queue.close())
  await until(async () => (await queue.nextDue()) !== null)
  const due = (await queue.nextDue())! - Date.now()
  expect(due).toBeGreaterThan(5 * MINUTE)
  expect(due).toBeLessThan(11 * MINUTE)
  expect(noted).toEqual([])
})
