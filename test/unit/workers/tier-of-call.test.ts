import { expect, test } from 'vitest'
import type { Lane } from '../../../config/lanes.ts'
import type { JobCost } from '../../../jobs/job-cost.ts'
import type { Held } from '../../../jobs/queue-entry.ts'
import { createLatest } from '../../../lib/latest.ts'
import type { ClaimedJob } from '../../../workers/claimed-job.ts'
import {
  askedTier,
  decideTier,
  fallBackAt,
  nextTryAtFlex,
  putOffEntry,
} from '../../../workers/tier-of-call.ts'
import { heldEntry } from './held.ts'

const MINUTE = 60_000
const NOW = 1_000 * MINUTE
const withFlex = { tiers: { flex: { timeout: 15 * MINUTE, fall_back_after: 10 * MINUTE }, batch: null } }
const lane = withFlex as unknown as Lane
const plain = { tiers: { flex: null, batch: null } } as unknown as Lane
const CHAT: JobCost = { tokens: 1, inputTokens: 1, outputTokens: 0, inputs: 1, coalesceKey: null }

function jobs(
  tier: JobCost['tier'],
  until?: number | null,
  more: { call?: number; startedMinutesAgo?: number } = {},
): ClaimedJob[] {
  const flex =
    until === undefined
      ? {}
      : {
          flex: {
            until: until === null ? null : NOW + until * MINUTE,
            fallBackAfter: 10 * MINUTE,
            timeout: 15 * MINUTE,
          },
        }
  const cost = { ...CHAT, ...(tier === undefined ? {} : { tier }), ...flex }
  const { call = 1, startedMinutesAgo = 0 } = more
  const claimed = { cost, call, firstStartedAt: NOW - startedMinutesAgo * MINUTE, timeoutMs: 2 * MINUTE }
  return [{ held: { cost }, claimed } as unknown as ClaimedJob]
}

const standard = { tier: 'standard', serviceTier: null }

test.each([
  ['a job of no tier', undefined, undefined, {}, null, { tier: 'standard' }],
  ['auto where flex is no cheaper way', 'auto', undefined, {}, null, { tier: 'standard' }],
  ['auto without a deadline', 'auto', null, {}, null, { tier: 'flex', timeoutMs: 15 * MINUTE }],
  ['… whose batch failed it a while ago', 'auto', null, { call: 2, startedMinutesAgo: 11 }, null, standard],
  ['auto with time for a whole call', 'auto', 60, {}, null, { tier: 'flex', timeoutMs: 15 * MINUTE }],
  [
    '… long after its first call',
    'auto',
    60,
    { call: 3, startedMinutesAgo: 600 },
    null,
    { tier: 'flex', timeoutMs: 15 * MINUTE },
  ],
  ['auto that is cut off in time', 'auto', 5, {}, null, { tier: 'flex', timeoutMs: 5 * MINUTE, isCut: true }],
  ['auto with too little time, as far as known', 'auto', 1, {}, null, standard],
  ['auto with enough, as calls took lately', 'auto', 1, {}, 0.5, { timeoutMs: MINUTE, isCut: true }],
  ['auto with too little, as calls took lately', 'auto', 5, {}, 6, standard],
  ['auto whose time at flex is over', 'auto', -1, {}, 0.1, standard],
  ['flex, first call', 'flex', null, { startedMinutesAgo: 60 }, null, { tier: 'flex' }],
  ['flex, before it falls back', 'flex', null, { call: 2, startedMinutesAgo: 9 }, null, { tier: 'flex' }],
  ['flex, once it falls back', 'flex', null, { call: 2, startedMinutesAgo: 10 }, null, standard],
] as const)('%s', (_, tier, until, more, usual, expected) => {
  const asked = decideTier(lane, jobs(tier, until, more), NOW, usual === null ? null : usual * MINUTE)
  expect(asked).toMatchObject(expected)
  if (expected !== standard && !('isCut' in expected)) expect(asked.isCut).toBeUndefined()
  // On a lane without flex, everything goes at standard.
  expect(decideTier(plain, jobs(tier, until, more), NOW, null).tier).toBe('standard')
})

test('an intent says flex while the job may go there, and the job falls back when that is over', () => {
  const held = (...args: Parameters<typeof jobs>) => jobs(...args).map((one) => one.held)
  expect(askedTier(held('auto', 5), NOW)).toBe('flex')
  expect(askedTier(held('auto', -1), NOW)).toBe('standard')
  expect(askedTier(held('auto'), NOW)).toBe('standard')
  const at = (...args: Parameters<typeof jobs>) => fallBackAt(lane, jobs(...args)[0]!.claimed)
  expect(at('auto', 5, { startedMinutesAgo: 100 })).toBe(NOW + 5 * MINUTE)
  expect(at('auto', null)).toBe(NOW + 10 * MINUTE)
  expect(at('flex')).toBe(NOW + 10 * MINUTE)
  expect(at('auto')).toBe(Number.POSITIVE_INFINITY)
  expect(fallBackAt(plain, jobs('flex')[0]!.claimed)).toBe(Number.POSITIVE_INFINITY)
})

test('a job asks for flex again when its tier has backed off, later if it has much time, and never once it goes at standard', () => {
  const at = (backedOffMinutes: number, ...args: Parameters<typeof jobs>) => {
    const { claimed } = jobs(...args)[0]!
    return (nextTryAtFlex(lane, claimed, NOW, NOW + backedOffMinutes * MINUTE) - NOW) / MINUTE
  }
  expect(at(1, 'auto', 4)).toBe(1)
  expect(at(1, 'auto', 80)).toBe(10)
  expect(at(20, 'auto', 80)).toBe(20)
  expect(at(5, 'auto', 4)).toBe(4)
  expect(at(1, 'auto', -1)).toBe(0)
  expect(at(1, 'auto', null)).toBe(1)
  expect(at(1, 'flex', null)).toBe(1)
  expect(at(20, 'flex', null)).toBe(10)
})

test.each([
  ['flex, shut for a while', { tier: 'flex' }, {}, 3, true, { at: 3, mark: { putOffMs: 3 * MINUTE } }],
  ['… again', { tier: 'flex' }, { putOffMs: 4 }, 3, true, { at: 3, mark: { putOffMs: 7 * MINUTE } }],
  [
    '… for its whole time in all',
    { tier: 'flex' },
    { putOffMs: 8 },
    3,
    true,
    { at: 2, mark: { fallsBackAt: NOW + 2 * MINUTE } },
  ],
  ['… for longer', { tier: 'flex' }, { putOffMs: 12 }, 3, true, { at: 0, mark: { fallsBackAt: NOW } }],
  [
    'flex, shut for longer than its time',
    { tier: 'flex' },
    {},
    30,
    true,
    { at: 10, mark: { fallsBackAt: NOW + 10 * MINUTE } },
  ],
  ['flex, only slow', { tier: 'flex' }, { putOffMs: 4 }, 1, false, { at: 1 }],
  ['flex that knows its time from a call', { tier: 'flex' }, { fallsBackAt: 2 }, 3, true, { at: 2 }],
  ['flex that goes at standard', { tier: 'flex' }, { fallsBackAt: -1 }, 3, true, { at: 3 }],
  ['auto with a deadline', { tier: 'auto', until: 2 }, {}, 30, true, { at: 2 }],
  [
    'auto without one',
    { tier: 'auto', until: null },
    {},
    30,
    true,
    { at: 10, mark: { fallsBackAt: NOW + 10 * MINUTE } },
  ],
  ['another tier', { serviceTier: 'priority' }, {}, 30, true, { at: 30 }],
] as const)(
  'an entry is put off no longer than it may wait for flex: %s',
  (_, asked, kept, minutes, isCounted, expected) => {
    const { until, ...rest } = { until: undefined, ...asked }
    const flex =
      until === undefined
        ? {}
        : { flex: { until: until && NOW + until * MINUTE, fallBackAfter: 0, timeout: 0 } }
    const { putOffMs, fallsBackAt } = { putOffMs: undefined, fallsBackAt: undefined, ...kept }
    const held = {
      ...heldEntry('one', { ...rest, ...flex } as Partial<JobCost>),
      fallsBackAt: fallsBackAt === undefined ? null : NOW + fallsBackAt * MINUTE,
      bull: { data: putOffMs === undefined ? {} : { putOffMs: putOffMs * MINUTE } } as Held['bull'],
    }
    const { at, ...mark } = putOffEntry(held, lane, NOW, NOW + minutes * MINUTE, isCounted)
    expect({ at: (at - NOW) / MINUTE, ...mark }).toEqual(expected)
  },
)

test('nine of ten of the latest numbers were at most the reported one', () => {
  const latest = createLatest(10)
  expect(latest.mostly()).toBeNull()
  for (const value of [1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) latest.add(value)
  expect(latest.mostly()).toBe(9)
})
