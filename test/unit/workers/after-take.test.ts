import { expect, test } from 'vitest'
import type { TakeAnswer } from '../../../ratelimit/gate.ts'
import { STANDARD } from '../../../ratelimit/lane-state.ts'
import { decideAfterTake } from '../../../workers/after-take.ts'

const answer: TakeAnswer = { permits: [], waitMs: 100, waitingFor: 'requests', never: false }
const standard = { isBound: false, tier: STANDARD } as const
const flex = { isBound: false, tier: 'flex' } as const
const bound = { isBound: true, tier: STANDARD } as const
const pause = (waitMs: number): Partial<TakeAnswer> => ({ waitingFor: 'provider_pause', waitMs })
const tierPause = (waitMs: number): Partial<TakeAnswer> => ({ ...pause(waitMs), otherTiersMay: true })

type Next = Parameters<typeof decideAfterTake>[1]
type Row = [what: string, said: Partial<TakeAnswer>, next: Next, hasSuccessors: boolean, follows: object]

const ROWS: Row[] = [
  [
    'all got permits',
    { permits: ['a'], waitMs: 0, waitingFor: null },
    null,
    true,
    { kind: 'all_granted', mayMove: false },
  ],
  [
    'too large a call',
    { never: true, waitMs: Number.POSITIVE_INFINITY },
    standard,
    false,
    { kind: 'refuse' },
  ],
  ['a short wait for its source', { waitMs: 100 }, bound, false, { kind: 'wait', step: 'give_back_spare' }],
  [
    'a wait for its source',
    { waitMs: 101 },
    bound,
    false,
    { kind: 'put_off', isOtherTier: false, isLong: false },
  ],
  [
    'a long wait for its source at flex',
    tierPause(2001),
    { ...flex, isBound: true },
    false,
    { kind: 'put_off', isOtherTier: true, isLong: true },
  ],
  [
    'flex, which is shut alone',
    tierPause(9000),
    flex,
    true,
    { kind: 'set_aside', tier: 'flex', mayMove: true, isOtherTier: true },
  ],
  [
    'flex, where all tiers are shut',
    pause(9000),
    flex,
    false,
    { kind: 'wait', step: 'give_back', isOtherTier: false },
  ],
  [
    'no free slot',
    { waitingFor: 'concurrency' },
    standard,
    true,
    { kind: 'wait', step: 'give_back_spare', isStandardAlone: false },
  ],
  [
    'a tenant that the breaker holds back',
    { othersMay: true },
    standard,
    false,
    { kind: 'wait', step: 'make_way', mayMove: false },
  ],
  [
    'a tenant held back for long',
    { ...pause(5001), othersMay: true },
    standard,
    true,
    { kind: 'wait', step: 'make_way', mayMove: true },
  ],
  [
    'a tenant held back at standard alone',
    { ...tierPause(9000), othersMay: true },
    standard,
    false,
    { kind: 'wait', step: 'make_way', isStandardAlone: false },
  ],
  ['a short pause', pause(2000), standard, true, { kind: 'wait', step: 'hold', isLong: false }],
  ['a pause', pause(5000), standard, true, { kind: 'wait', step: 'give_back', isLong: true }],
  ['a long pause', pause(5001), standard, true, { kind: 'wait', step: 'move', isStandardAlone: false }],
  ['a long pause without another lane', pause(5001), standard, false, { kind: 'wait', step: 'give_back' }],
  [
    'a short pause of standard alone',
    tierPause(250),
    standard,
    false,
    { kind: 'wait', step: 'hold', isStandardAlone: false },
  ],
  [
    'a pause of standard alone',
    tierPause(251),
    standard,
    false,
    { kind: 'wait', step: 'hold', isStandardAlone: true },
  ],
  [
    'a long pause of standard alone, with another lane',
    tierPause(5001),
    standard,
    true,
    { kind: 'wait', step: 'move', isStandardAlone: false },
  ],
  [
    'a long pause of standard alone',
    tierPause(5001),
    standard,
    false,
    { kind: 'wait', step: 'give_back', isStandardAlone: true },
  ],
]

test.each(ROWS)('%s', (_, said, next, hasSuccessors, follows) => {
  expect(decideAfterTake({ ...answer, ...said }, next, () => hasSuccessors)).toMatchObject(follows)
})
