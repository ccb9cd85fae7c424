import { expect, test } from 'vitest'
import { planWay, type WayQuestion } from '../../../api/jobs/plan-way.ts'
import type { Lane } from '../../../config/lanes.ts'
import { batchDefaults, flexDefaults } from '../../../config/tier-schema.ts'
import type { Tier } from '../../../jobs/job.ts'

const HOUR = 3_600_000
const MINUTE = 60_000
const NOW = 1_000 * HOUR
const HALF = { flex: 0.5, batch: 0.5 }

const lane = (tiers: Lane['tiers'], factors: Record<string, number> | null = HALF) =>
  ({
    id: 'up/m',
    timeout: 2 * MINUTE,
    tiers,
    price: factors === null ? null : { input: 1, output: 1, tiers: factors },
  }) as unknown as Lane
const both = lane({ flex: flexDefaults, batch: batchDefaults })
const onlyFlex = lane({ flex: flexDefaults, batch: null })
const onlyBatch = lane({ flex: null, batch: batchDefaults })

/** The relevant part of a plan: the way, and the minutes after which it leaves flex. */
function wayOf(
  where: Lane,
  tier: Tier,
  minutes: number | null,
  more: { turnaround?: number; job?: Partial<WayQuestion> } = {},
): [string, (number | null)?] {
  const job = {
    type: 'chat',
    body: { messages: [] },
    deadline: minutes === null ? null : NOW + minutes * MINUTE,
    runAt: null,
    cost: { tokens: 10, inputTokens: 10, outputTokens: 0, inputs: 1, coalesceKey: null },
    timeoutMs: 2 * MINUTE,
    askedTimeoutMs: undefined,
    ...more.job,
  } as WayQuestion
  const { gather, cost } = planWay(job, where, tier, NOW, more.turnaround ?? null)
  if (cost.flex === undefined) return [gather ? 'batch' : 'standard']
  const { until } = cost.flex
  return [gather ? 'batch, then flex' : 'flex', until === null ? null : (until - NOW) / MINUTE]
}

test.each([
  // Time enough for a batch, or no deadline: of two ways at one price the batch, then flex.
  [both, null, {}, ['batch, then flex', null]],
  [both, 24 * 60, {}, ['batch, then flex', 24 * 60 - 4]],
  // Its batch would leave before it is gathered: `leave_before` is 2 h, `gather` 1 min.
  [both, 121, {}, ['batch, then flex', 117]],
  [both, 120.5, {}, ['flex', 116.5]],
  [both, 15, {}, ['flex', 11]],
  // Never more than half of the time is kept for standard.
  [both, 2, {}, ['flex', 1]],
  // Recent batches took five hours.
  [both, 6 * 60, { turnaround: 5 * HOUR }, ['flex', 356]],
  [both, 8 * 60, { turnaround: 5 * HOUR }, ['batch, then flex', 476]],
  [onlyFlex, null, {}, ['flex', null]],
  [onlyFlex, 24 * 60, {}, ['flex', 24 * 60 - 4]],
  [onlyBatch, 24 * 60, {}, ['batch']],
  [onlyBatch, 60, {}, ['standard']],
  [lane({ flex: null, batch: null }), null, {}, ['standard']],
  // The cheaper of the two; a way that is not cheaper is not used.
  [lane({ flex: flexDefaults, batch: batchDefaults }, { flex: 0.4, batch: 0.5 }), null, {}, ['flex', null]],
  [lane({ flex: flexDefaults, batch: batchDefaults }, { batch: 0.5 }), null, {}, ['batch']],
  [lane({ flex: flexDefaults, batch: null }, { flex: 1 }), null, {}, ['standard']],
  [lane({ flex: flexDefaults, batch: null }, null), 60, {}, ['flex', 56]],
  // A stream is read as it comes; embeddings have no flex.
  [both, null, { job: { body: { stream: true } } }, ['standard']],
  [both, 60, { job: { type: 'embedding' as const, body: { input: 'x' } } }, ['standard']],
  // A start in the future leaves less time.
  [both, 180, { job: { runAt: NOW + HOUR } }, ['flex', 176]],
  [both, 60, { job: { timeoutMs: 10 * MINUTE } }, ['flex', 40]],
] as const)('tier auto: the cheapest way that meets the deadline (%#)', (where, minutes, more, way) => {
  expect(wayOf(where, 'auto', minutes, more)).toEqual(way)
})

test('other tiers take their own way, at any price', () => {
  expect(wayOf(both, 'standard', null)).toEqual(['standard'])
  expect(wayOf(both, 'batch', 24 * 60)).toEqual(['batch'])
  expect(wayOf(both, 'flex', 15)).toEqual(['flex', null])
  // Its window makes a batch useless: it is not gathered for one.
  expect(wayOf(both, 'batch', 60)).toEqual(['standard'])
})
