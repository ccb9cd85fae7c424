import { z } from 'zod'
import type { Lane } from '../../config/lanes.ts'
import { JobType } from '../../jobs/job.ts'
import type { ProviderBatch } from '../../provider-batches/batch.ts'

const time = z.string().nullable()
const count = z.number()

export const providerBatchSchema = z
  .object({
    id: z
      .string()
      .describe("Our id. The provider has it in the batch's metadata, or in the names of its lines."),
    object: z.literal('provider_batch'),
    lane: z.string(),
    type: z.enum(JobType),
    state: z.enum(['gathered', 'uploading', 'creating', 'in_progress', 'cancelling', 'ended']),
    outcome: z
      .enum(['completed', 'failed', 'expired', 'cancelled', 'refused', 'lost', 'empty'])
      .nullable()
      .describe('How it ended; null: it has not.'),
    source: z
      .string()
      .nullable()
      .describe('The source that has it; null: the lane has no sources, or none is chosen yet.'),
    provider_id: z.string().nullable().describe("The provider's id; null: unknown or not created yet."),
    lines: z
      .object({ total: count, completed: count, failed: count, left: count, dropped: count })
      .describe(
        'The outcomes of its jobs. `left`: served another way; `dropped`: no answer was needed any more.',
      ),
    tokens: count.describe('Input tokens, estimated.'),
    bytes: count,
    cost_usd: count.nullable().describe('Null: its lane has no price, or was removed and had none.'),
    saved_usd: count.describe('Compared with the price of calls.'),
    created_at: z.string(),
    submitted_at: time,
    ended_at: time,
    leave_at: time.describe(
      'The earliest time at which one of its jobs has to leave for a faster way; null: none has to.',
    ),
    error: z.string().nullable().describe("The provider's message if it rejected the batch."),
  })
  .meta({ id: 'ProviderBatch' })

/** @param laneNow its lane in the current configuration; null: it was removed */
export function showProviderBatch(
  batch: ProviderBatch,
  laneNow: Pick<Lane, 'price'> | null,
): z.output<typeof providerBatchSchema> {
  // A cost that was booked stays known, even if the lane is gone.
  const hasPrice = batch.costUsd > 0 || (laneNow !== null && laneNow.price !== null)
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())
  const { id, lane, type, state, outcome, providerId, lines, counts, tokens, bytes, error } = batch
  return {
    ...{ id, object: 'provider_batch' as const, lane, type, state, outcome },
    source: batch.source,
    provider_id: providerId,
    lines: { total: lines, ...counts },
    ...{ tokens, bytes, cost_usd: hasPrice ? batch.costUsd : null, saved_usd: batch.savedUsd },
    created_at: new Date(batch.createdAt).toISOString(),
    submitted_at: iso(batch.submittedAt),
    ended_at: iso(batch.endedAt),
    leave_at: iso(batch.leaveAt),
    error,
  }
}
