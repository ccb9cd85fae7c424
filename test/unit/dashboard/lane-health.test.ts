import { describe, expect, test } from 'vitest'
import { findConcerns } from '../../../dashboard/src/state/attention.ts'
import { decideInWords, judgeLane, readPauseEnd } from '../../../dashboard/src/state/lane-health.ts'
import { makeLane, makeOverview, makeTenant } from './overview.ts'

const waiting = { waiting: 5, delayed: 0, held: 0 }

describe('judgeLane', () => {
  test.each([
    ['idle', {}],
    ['flowing', { in_flight: 2 }],
    ['at its limit', { in_flight: 2, backlog: waiting, waiting_for: 'tokens' }],
    ['slowed', { speed: 0.7, in_flight: 2 }],
    [
      'probing',
      { breaker: { state: 'half_open', failures: 5, held_tenants: [], last_broken: [] }, in_flight: 1 },
    ],
    [
      'paused',
      { paused_until: '2026-11-24T01:00:00.000Z', paused_reason: 'rest', waiting_for: 'provider_pause' },
    ],
    [
      'provider down',
      {
        breaker: { state: 'open', failures: 5, held_tenants: [], last_broken: [] },
        paused_until: '2026-11-24T01:00:00.000Z',
      },
    ],
  ] as const)('says %s', (label, given) => expect(judgeLane(makeLane(given)).label).toBe(label))

  test('does not call a lane held back that has nothing to send', () => {
    expect(judgeLane(makeLane({ in_flight: 1, waiting_for: 'tokens' })).label).toBe('flowing')
  })

  test('says what an operator wrote', () => {
    expect(
      judgeLane(makeLane({ paused_until: '2026-11-24T01:00:00.000Z', paused_reason: '<b>rest' })).detail,
    ).toBe('<b>rest')
  })
})

test.each([
  [{}, 'The next call may leave at once: nothing waits.'],
  [
    { backlog: waiting, waiting_for: 'tokens', held_back_by: { kind: 'shared_limit', name: 'gpt' } },
    'The next call waits for the token limit shared as gpt; until then 5 jobs wait in turn.',
  ],
  [
    { backlog: waiting, waiting_for: 'requests', held_back_by: { kind: 'lane', name: 'openai/small' } },
    'The next call waits for the request limit of this lane; until then 5 jobs wait in turn.',
  ],
  [
    { backlog: waiting, paused_until: '2026-11-24T01:00:00.000Z', paused_reason: 'rest' },
    'No call leaves: the lane is paused. 5 jobs wait.',
  ],
  [{ speed: 0.7 }, 'Calls leave at 70 % of the lane’s rate, which recovers from a 429.'],
] as const)('says what the gate decides of %j', (given, words) => {
  expect(decideInWords(makeLane(given))).toBe(words)
})

test('a pause with an end in the far future ends by hand', () => {
  const now = Date.UTC(2026, 10, 24)
  const pausedUntil = (paused_until: string | null) => readPauseEnd(makeLane({ paused_until }), now)
  expect(pausedUntil(null)).toBeNull()
  expect(pausedUntil('2026-11-24T00:01:00.000Z')).toBe(now + 60_000)
  // Ten years, as the server writes it, some of which have passed.
  expect(pausedUntil('2034-11-22T00:00:00.000Z')).toBe(Number.POSITIVE_INFINITY)
  expect(pausedUntil('9999-12-31T23:59:59.999Z')).toBe(Number.POSITIVE_INFINITY)
})

describe('findConcerns', () => {
  test('has none about a healthy lane', () => {
    expect(findConcerns(makeOverview(0))).toEqual([])
  })

  test('names lanes in trouble, budgets and queues near their end, the worst first, and of those what holds up most', () => {
    const counts = { scheduled: 0, queued: 95, running: 0, completed: 0, failed: 0, cancelled: 0 }
    const concerns = findConcerns(
      makeOverview(0, {
        lanes: [
          makeLane({ speed: 0.7 }),
          makeLane({ id: 'b/b', breaker: { state: 'open', failures: 5, held_tenants: [], last_broken: [] } }),
        ],
        tenants: [
          makeTenant({ counts }),
          makeTenant({ id: 'birch', spent_usd: 0.9, reserved_usd: 0.2, budget_usd_per_day: 1 }),
        ],
      }),
    )
    expect(concerns.map(({ subject, tone }) => `${tone} ${subject}`)).toEqual([
      'bad b/b',
      'bad birch',
      'warn acme',
      'warn openai/small',
    ])
  })
})
