import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { describeTrouble, findConcerns, sumFailures } from '../../../dashboard/src/state/attention.ts'
import { brokenSince, countStuck, impactOf, rankLanes } from '../../../dashboard/src/state/impact.ts'
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

/** An outage as it was met: a provider down, a lane at its limit with very many jobs, and the rest at rest. */
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

  test('what is stuck comes first, and those that rest are apart', () => {
    const first = ranked.providers[0]?.lanes[0] ?? ranked.lanes[0]!
    expect(first.provider).toBe('anthropic')
    expect(ranked.lanes.map(({ id }) => id)).toContain('openai/limited')
    expect(ranked.providers.length + ranked.lanes.length).toBeLessThanOrEqual(2)
  })

  test('each has one line of what wants attention, and what can be done', () => {
    const concerns = findConcerns(makeOverview(0, { lanes: makeStorm(count) }))
    expect(concerns).toHaveLength(1)
    expect(concerns[0]).toMatchObject({
      tone: 'bad',
      action: count === 3 ? { kind: 'lane' } : { kind: 'pause-provider', provider: 'anthropic' },
    })
  })
})

test('a provider in trouble is said in one sentence: how many, since when, and its last error', () => {
  const lanes = Array.from({ length: 12 }, (_, number) => down(`anthropic/${number}`, 10))
  const { providers } = rankLanes(lanes)
  expect(providers).toHaveLength(1)
  const time = new Date(at(2)).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  expect(describeTrouble(providers[0]!)).toBe(
    `12 lanes, all provider down since ${time}, last error 503 overloaded`,
  )
  expect(providers[0]!.stuck).toBe(120)
})

test('a provider of which a lane flows is not in trouble as a whole', () => {
  const lanes = [down('a/1', 10), down('a/2', 20), flowing('a/3', 1)]
  const ranked = rankLanes(lanes)
  expect(ranked.providers).toEqual([])
  expect(ranked.lanes.map(({ id }) => id)).toEqual(['a/2', 'a/1', 'a/3'])
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

test('every lane is shown once, whatever there is, and none before one that holds up more', () => {
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
