import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { explainTrouble, findConcerns, sumFailures } from '../../../dashboard/src/state/attention.ts'
import {
  brokenSince,
  countStuck,
  impactOf,
  orderByImpact,
  rankLanes,
} from '../../../dashboard/src/state/impact.ts'
import type { Lane } from '../../../dashboard/src/wire.ts'
import { makeLane, makeOverview } from './overview.ts'

const broken = (at: string, status: number | null = 503, code = 'overloaded') => ({
  at,
  status,
  code,
  message: null,
  jobs: [],
})
const at = (minute: number) => new Date(Date.UTC(2026, 10, 24, 14, minute)).toISOString()

function down(id: string, waiting: number, given: Partial<Lane> = {}): Lane {
  const [provider = '', model = ''] = id.split('/')
  return makeLane({
    ...{ id, provider, model },
    backlog: { waiting, delayed: 0, held: 0 },
    breaker: {
      state: 'open',
      failures: 3,
      held_tenants: [],
      last_broken: [broken(at(9)), broken(at(5)), broken(at(2)), broken(at(0))],
    },
    ...given,
  })
}
const idle = (number: number) => makeLane({ id: `idle/${number}`, provider: 'idle' })
const flowing = (id: string, waiting: number) =>
  makeLane({ id, provider: id.split('/')[0]!, in_flight: 3, backlog: { waiting, delayed: 0, held: 0 } })

/** A real outage: a provider is down, a lane with very many jobs is at its limit, and the others are idle. */
function makeStorm(count: number): Lane[] {
  const outage = Array.from({ length: Math.max(1, Math.floor(count / 4)) }, (_, number) =>
    down(`anthropic/${number}`, 100 + number),
  )
  const limited = makeLane({
    ...{ id: 'openai/limited', provider: 'openai', waiting_for: 'tokens', in_flight: 4 },
    backlog: { waiting: 10_000, delayed: 0, held: 0 },
  })
  const rest = Array.from({ length: count - outage.length - 1 }, (_, number) => idle(number))
  // As the API lists them: by their names.
  return [...outage, ...rest, limited].sort((one, other) => (one.id < other.id ? -1 : 1))
}

describe.each([3, 41, 200])('of %i lanes in a storm', (count) => {
  const ranked = rankLanes(makeStorm(count))

  test('stuck lanes come first, and idle ones are separate', () => {
    const first = ranked.providers[0]?.lanes[0] ?? ranked.lanes[0]!
    expect(first.provider).toBe('anthropic')
    expect(ranked.lanes.map(({ id }) => id)).toContain('openai/limited')
    expect(ranked.providers.length + ranked.lanes.length).toBeLessThanOrEqual(2)
  })

  test('each has one line for what needs attention, and what can be done', () => {
    const concerns = findConcerns(makeOverview(0, { lanes: makeStorm(count) }))
    expect(concerns).toHaveLength(1)
    expect(concerns[0]).toMatchObject({
      tone: 'bad',
      action: count === 3 ? { kind: 'lane' } : { kind: 'pause-lanes', trouble: { provider: 'anthropic' } },
    })
  })
})

test('a provider in trouble is described in one sentence: how many, since when, and its last error', () => {
  const lanes = Array.from({ length: 12 }, (_, number) => down(`anthropic/${number}`, 10))
  const { providers } = rankLanes(lanes)
  expect(providers).toHaveLength(1)
  const time = new Date(at(2)).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  const [concern] = findConcerns(makeOverview(0, { lanes }))
  expect(concern!.text).toBe(`12 lanes, all down since ${time}; 120 jobs wait`)
  expect(explainTrouble(providers[0]!)).toBe('Last error 503 overloaded')
  expect(providers[0]!.stuck).toBe(120)
})

test('some lanes of a provider in the same trouble are one line, in every state of its other lanes', () => {
  const paused = (id: string, paused_reason: string) =>
    makeLane({ ...flowing(id, 5), paused_until: at(30), paused_reason })
  const lanes = [
    ...[down('a/1', 10), down('a/2', 20), flowing('a/3', 1), down('a/4', 7)],
    ...[paused('a/5', 'maintenance'), paused('a/6', 'maintenance'), paused('a/7', 'wrong run')],
    ...[down('b/1', 1), makeLane({ id: 'a/8', provider: 'a' })],
  ]
  const ranked = rankLanes(lanes)
  expect(ranked.providers.map(({ id, lanes }) => [id, lanes.map((lane) => lane.id)])).toEqual([
    ['a provider down', ['a/2', 'a/1', 'a/4']],
    ['a paused: maintenance', ['a/5', 'a/6']],
  ])
  expect(ranked.lanes.map(({ id }) => id)).toEqual(['b/1', 'a/7', 'a/3'])
  const texts = findConcerns(makeOverview(0, { lanes })).map(({ subject, text }) => `${subject}: ${text}`)
  expect(texts).toHaveLength(4)
  expect(texts[0]).toMatch(/^a: 3 of 7 active lanes down since \d\d:\d\d; 37 jobs wait$/)
  expect(texts).toContain('a: 2 of 7 active lanes paused; 10 jobs wait')
})

test('a lane that holds up more comes before a provider in trouble', () => {
  const slowed = (id: string) => makeLane({ ...flowing(id, 1), speed: 0.5 })
  const limited = makeLane({ ...flowing('b/1', 10_000), waiting_for: 'tokens' })
  const order = orderByImpact(rankLanes([slowed('a/1'), slowed('a/2'), limited, flowing('b/2', 0)]))
  expect(order.map(({ id }) => id)).toEqual(['b/1', 'a slowed', 'b/2'])
})

test('jobs that a pause delayed are stuck; those that only wait for their time are not', () => {
  const backlog = { waiting: 1, delayed: 7, held: 0 }
  expect(countStuck(makeLane({ backlog }))).toBe(1)
  expect(countStuck(makeLane({ backlog, paused_until: at(30) }))).toBe(8)
})

test('calls broke since the first of those in a row', () => {
  expect(brokenSince(down('a/b', 1))).toBe(at(2))
  expect(brokenSince(makeLane())).toBeNull()
})

test('every lane is shown once, in any state, and none before one that holds up more', () => {
  const lane = fc.record({
    provider: fc.constantFrom('a', 'b', 'c'),
    waiting: fc.nat(1000),
    state: fc.constantFrom('closed', 'open', 'half_open'),
    isPaused: fc.boolean(),
    inFlight: fc.nat(3),
  })
  fc.assert(
    fc.property(fc.array(lane, { maxLength: 60 }), (given) => {
      const lanes = given.map(({ provider, waiting, state, isPaused, inFlight }, number) =>
        makeLane({
          ...{ id: `${provider}/${number}`, provider, in_flight: inFlight },
          backlog: { waiting, delayed: 0, held: 0 },
          breaker: { state: state as 'open', failures: 0, held_tenants: [], last_broken: [] },
          paused_until: isPaused ? at(30) : null,
        }),
      )
      const ranked = rankLanes(lanes)
      const shown = [...ranked.providers.flatMap((one) => one.lanes), ...ranked.lanes, ...ranked.idle]
      expect(shown.map(({ id }) => id).sort()).toEqual(lanes.map(({ id }) => id).sort())
      const impacts = ranked.lanes.map(impactOf)
      expect(impacts).toEqual(impacts.toSorted((a, b) => b - a))
    }),
  )
})

test('failures of one error are one line', () => {
  const one = { lane: 'a/1', tenant: 'acme', code: 'timeout', count: 2, last_at: at(1), retryable: true }
  const sums = sumFailures([
    one,
    { ...one, lane: 'a/2', count: 5, last_at: at(3) },
    { ...one, tenant: 'birch', last_at: at(2) },
    { ...one, code: 'rare', count: 1 },
  ])
  expect(sums).toEqual([
    { code: 'timeout', count: 9, lanes: ['a/1', 'a/2'], tenants: ['acme', 'birch'], lastAt: at(3) },
    { code: 'rare', count: 1, lanes: ['a/1'], tenants: ['acme'], lastAt: at(1) },
  ])
})
