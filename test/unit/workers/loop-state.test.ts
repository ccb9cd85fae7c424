import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TakeAnswer } from '../../../ratelimit/gate.ts'
import type { AfterTake } from '../../../workers/after-take.ts'
import {
  advance,
  foundEmpty,
  isLookDue,
  isResting,
  type KnownGate,
  type KnownQueue,
  type LoopEvent,
  type LoopState,
  MOST_AHEAD,
  nextLookAt,
  START,
  shutUntil,
  waitedFor,
} from '../../../workers/loop-state.ts'

const unseen: KnownQueue = { kind: 'unseen' }
const looking = { kind: 'looking', wasEmpty: false, restMs: 1000, nextDue: 'asked' } as const
const empty = { kind: 'empty', lookAt: 5000, restMs: 2000, nextDue: 'unknown' } as const
const open: KnownGate = { kind: 'open' }
const refused = { kind: 'refused', waitingFor: 'concurrency', until: 3000 } as const

const answer: TakeAnswer = { permits: [], waitMs: 700, waitingFor: 'requests', never: false }
const facts = { isOtherTier: false, mayMove: false, isLong: false }
const wait: AfterTake = { ...facts, kind: 'wait', step: 'give_back_spare', isStandardAlone: false }
const toTier: AfterTake = { ...facts, kind: 'set_aside', tier: 'flex', isOtherTier: true }
const paused: TakeAnswer = { ...answer, waitingFor: 'provider_pause', waitMs: 60_000 }
const granted: TakeAnswer = { ...answer, permits: ['a', 'b'], waitMs: 0, waitingFor: null }

type Row = [what: string, before: Partial<LoopState>, event: LoopEvent, after: Partial<LoopState>]

const ROWS: Row[] = [
  ['a hint', { queue: { ...empty, lookAt: 9000 } }, { kind: 'hint' }, { queue: unseen }],
  ['entries given back', { queue: empty }, { kind: 'given_back' }, { queue: unseen }],
  ['a first look', { queue: unseen }, { kind: 'look' }, { queue: looking }],
  [
    'a later look',
    { queue: empty },
    { kind: 'look' },
    { queue: { ...looking, wasEmpty: true, restMs: 2000 } },
  ],
  ['a look after one that failed', { queue: looking }, { kind: 'look' }, { queue: looking }],
  ['a hint during a look', { queue: looking }, { kind: 'hint' }, { queue: unseen }],
  [
    'an empty look',
    { queue: looking, fetch: { count: 8, wasFull: true } },
    { kind: 'fetched', asked: 8, count: 0, now: 100 },
    {
      queue: { kind: 'empty', lookAt: 1100, restMs: 2000, nextDue: 'unknown' },
      fetch: { count: 1, wasFull: false },
    },
  ],
  [
    'the next empty look',
    { queue: { ...looking, restMs: 4000 } },
    { kind: 'fetched', asked: 1, count: 0, now: 100 },
    { queue: { kind: 'empty', lookAt: 4100, restMs: 5000, nextDue: 'unknown' } },
  ],
  [
    'a look that found fewer than it asked for, after empty ones',
    { queue: { ...looking, restMs: 4000 }, fetch: { count: 8, wasFull: true } },
    { kind: 'fetched', asked: 8, count: 3, now: 100 },
    {
      queue: { kind: 'empty', lookAt: 1100, restMs: 2000, nextDue: 'unknown' },
      fetch: { count: 3, wasFull: false },
    },
  ],
  [
    'a first full look',
    { queue: looking },
    { kind: 'fetched', asked: 1, count: 1, now: 100 },
    { queue: unseen, fetch: { count: 1, wasFull: true } },
  ],
  [
    'a second full look',
    { queue: looking, fetch: { count: 40, wasFull: true } },
    { kind: 'fetched', asked: 40, count: 40, now: 100 },
    { queue: unseen, fetch: { count: MOST_AHEAD, wasFull: true } },
  ],
  [
    'an empty look, with a hint since it began',
    { queue: unseen },
    { kind: 'fetched', asked: 1, count: 0, now: 100 },
    { queue: unseen },
  ],
  [
    'a queue found empty',
    { queue: { ...looking, wasEmpty: true, restMs: 2000 } },
    { kind: 'found_empty', now: 100 },
    { queue: { kind: 'empty', lookAt: 2100, restMs: 4000, nextDue: 'known' } },
  ],
  [
    'a queue found empty, with an entry delayed in between',
    { queue: { ...looking, nextDue: 'unknown' } },
    { kind: 'found_empty', now: 100 },
    { queue: { kind: 'empty', lookAt: 1100, restMs: 2000, nextDue: 'unknown' } },
  ],
  [
    'a queue found empty, with a hint in between',
    { queue: unseen },
    { kind: 'found_empty', now: 1 },
    { queue: unseen },
  ],
  [
    'an entry delayed during a look',
    { queue: looking },
    { kind: 'entry_delayed' },
    { queue: { ...looking, nextDue: 'unknown' } },
  ],
  [
    'an entry delayed while the next one is known',
    { queue: { ...empty, nextDue: 'known' } },
    { kind: 'entry_delayed' },
    { queue: empty },
  ],
  ['an entry delayed before a look', { queue: unseen }, { kind: 'entry_delayed' }, { queue: unseen }],
  [
    'an empty hand',
    { queue: empty, reported: 'tokens' },
    { kind: 'ran_empty' },
    { queue: { ...empty, nextDue: 'asked' }, reported: null },
  ],
  [
    'an empty hand, with the next entry known',
    { queue: { ...empty, nextDue: 'known' }, reported: 'tokens' },
    { kind: 'ran_empty' },
    { reported: null },
  ],
  [
    'the next entry, due before the next look',
    { queue: { ...empty, nextDue: 'asked' } },
    { kind: 'due', at: 4200 },
    { queue: { ...empty, lookAt: 4200, nextDue: 'known' } },
  ],
  [
    'the next entry, due after the next look',
    { queue: { ...empty, nextDue: 'asked' } },
    { kind: 'due', at: 6000 },
    { queue: { ...empty, nextDue: 'known' } },
  ],
  [
    'no next entry',
    { queue: { ...empty, nextDue: 'asked' } },
    { kind: 'due', at: null },
    { queue: { ...empty, nextDue: 'known' } },
  ],
  ['the next entry, with one delayed since', { queue: empty }, { kind: 'due', at: 4200 }, { queue: empty }],
  ['the next entry, with a hint since', { queue: unseen }, { kind: 'due', at: 4200 }, { queue: unseen }],
  [
    'a take that granted all',
    { gate: refused, wasPaused: true, isProbing: true },
    { kind: 'answered', answer: granted, after: { ...facts, kind: 'all_granted' }, now: 100 },
    { gate: open, wasPaused: false, isProbing: false },
  ],
  [
    'a refusal',
    { fetch: { count: 32, wasFull: true } },
    { kind: 'answered', answer, after: wait, now: 100 },
    {
      gate: { kind: 'refused', waitingFor: 'requests', until: 800 },
      fetch: { count: 1, wasFull: true },
      reported: 'requests',
    },
  ],
  [
    'a refusal after two grants, for a minute',
    { wasPaused: true },
    { kind: 'answered', answer: { ...answer, permits: ['a', 'b'], waitMs: 60_000 }, after: wait, now: 100 },
    {
      gate: { kind: 'refused', waitingFor: 'requests', until: 1100 },
      fetch: { count: 2, wasFull: false },
      reported: 'requests',
      wasPaused: false,
    },
  ],
  [
    'a refusal for standard alone',
    {},
    { kind: 'answered', answer, after: { ...wait, isStandardAlone: true }, now: 100 },
    { gate: { kind: 'refused', waitingFor: 'requests', until: 0 }, reported: 'requests' },
  ],
  [
    'a pause',
    {},
    { kind: 'answered', answer: paused, after: wait, now: 100 },
    {
      gate: { kind: 'refused', waitingFor: 'provider_pause', until: 1100 },
      reported: 'provider_pause',
      wasPaused: true,
    },
  ],
  ['a pause of another tier', {}, { kind: 'answered', answer: paused, after: toTier, now: 100 }, {}],
  [
    'a breaker that holds a tenant back',
    {},
    { kind: 'answered', answer: { ...answer, othersMay: true }, after: toTier, now: 100 },
    { isProbing: true },
  ],
  [
    'entries that move on',
    { gate: refused },
    { kind: 'moving_on' },
    { gate: { ...refused, until: 0 }, fetch: { count: MOST_AHEAD, wasFull: false } },
  ],
  [
    'a search for a call of another tenant',
    { queue: empty, gate: refused, fetch: { count: 9, wasFull: true } },
    { kind: 'searching', until: 3400 },
    { queue: unseen, gate: { ...refused, until: 3400 }, fetch: { count: 1, wasFull: true } },
  ],
  ['a call to try', { gate: refused }, { kind: 'reopened' }, { gate: { ...refused, until: 0 } }],
  [
    'the end of a call, for want of a slot',
    { gate: refused },
    { kind: 'call_ended' },
    { gate: { ...refused, until: 0 } },
  ],
  [
    'the end of a call, for want of tokens',
    { gate: { ...refused, waitingFor: 'tokens' } },
    { kind: 'call_ended' },
    {},
  ],
  ['the end of a call on an open lane', {}, { kind: 'call_ended' }, {}],
]

test.each(ROWS)('%s', (_, before, event, after) => {
  const state = { ...START, ...before }
  expect(advance(state, event)).toEqual({ ...state, ...after })
})

test('the readers of a state', () => {
  const of = (queue: KnownQueue, gate: KnownGate = open) => ({ ...START, queue, gate })
  const lateLook = { ...looking, wasEmpty: true, restMs: 2000 }
  const seen = [unseen, looking, lateLook, empty].map((queue) => {
    const state = of(queue)
    return [isLookDue(state, 4999), nextLookAt(state), foundEmpty(state), isResting(state)]
  })
  expect(seen).toEqual([
    [true, 0, false, false],
    [true, 0, false, false],
    [true, 0, true, true],
    [false, 5000, true, true],
  ])
  expect(isLookDue(of(empty), 5000)).toBe(true)
  expect([open, refused].map((gate) => [shutUntil(of(unseen, gate)), waitedFor(of(unseen, gate))])).toEqual([
    [0, null],
    [3000, 'concurrency'],
  ])
})

const arbitraryEvent = fc.oneof(
  fc.constantFrom<LoopEvent>(...ROWS.map(([, , event]) => event)),
  fc.record({
    kind: fc.constant('fetched' as const),
    asked: fc.integer({ min: 1, max: 64 }),
    count: fc.nat(64),
    now: fc.constant(0),
  }),
)

test('in any sequence of events, the next look and the next question to the gate come within their bounds', () => {
  const happenings = fc.array(fc.tuple(fc.nat(3000), arbitraryEvent), { maxLength: 40 })
  fc.assert(
    fc.property(happenings, (some) => {
      let state = START
      let now = 0
      for (const [ms, told] of some) {
        now += ms
        const event = 'now' in told ? { ...told, now } : told
        const isRefusal = event.kind === 'answered' && event.after.kind === 'wait'
        state = advance(state, event)
        expect(nextLookAt(state)).toBeLessThanOrEqual(now + 5000)
        if (isRefusal) expect(shutUntil(state)).toBeLessThanOrEqual(now + 1000)
        expect(state.fetch.count).toBeGreaterThanOrEqual(1)
        expect(state.fetch.count).toBeLessThanOrEqual(MOST_AHEAD)
      }
    }),
  )
})

test('a hint is kept until a look that began after it', () => {
  const others = ROWS.map(([, , event]) => event).filter(({ kind }) => kind !== 'look')
  fc.assert(
    fc.property(fc.array(fc.constantFrom<LoopEvent>(...others), { maxLength: 40 }), (events) => {
      let state = advance({ ...START, queue: looking }, { kind: 'hint' })
      for (const event of events) state = advance(state, event)
      expect(state.queue).toEqual(unseen)
    }),
  )
})
