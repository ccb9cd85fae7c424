import { expect, test } from 'vitest'
import { showProviderBatch } from '../../../api/provider-batches/schema.ts'
import type { ProviderBatch } from '../../../provider-batches/batch.ts'

const batch: ProviderBatch = {
  ...{ id: 'pbatch_1', lane: 'gone/model', type: 'chat', state: 'ended', outcome: 'completed', source: null },
  ...{
    providerId: 'batch_1',
    isSure: true,
    lines: 1,
    sentLines: 1,
    tokens: 1,
    bytes: 1,
    costUsd: 0,
    savedUsd: 0,
    createdAt: 1,
  },
  counts: { completed: 1, failed: 0, left: 0, dropped: 0 },
  ...{ fileId: null, rejected: [], cancelAskedAt: null, readyAt: null, readyAs: null },
  ...{ intentAt: 1, submittedAt: 1, endedAt: 1, leaveAt: null, error: null },
}

test.each([
  ['has a price', { price: { input: 1, output: 1 } }, 0, 0],
  ['has no price', { price: null }, 0, null],
  ['was removed', null, 0, null],
  ['was removed, after calls with a price', null, 0.5, 0.5],
  ['lost its price, after calls with one', { price: null }, 0.5, 0.5],
])('what a batch cost whose lane %s', (_name, lane, costUsd, shown) => {
  expect(showProviderBatch({ ...batch, costUsd }, lane).cost_usd).toBe(shown)
})
