import { z } from 'zod'
import { type Batch, BatchStatus, batchEndpoints } from '../../batches/batch.ts'

const minKeepSeconds = 3600
const maxKeepSeconds = 30 * 24 * 3600

/** The body of `POST /v1/batches`. */
export const createBatchSchema = z
  .looseObject({
    input_file_id: z.string().min(1).max(128).describe('A file of the purpose `batch`.'),
    endpoint: z.enum(batchEndpoints).describe('The endpoint of all lines.'),
    completion_window: z
      .string()
      .regex(/^([1-9]|1\d|2[0-4])h$/, { error: 'expected "24h", or fewer hours: "1h" to "24h"' })
      .describe('Requests without an answer by then expire. `24h` as at OpenAI, or from `1h` on.'),
    metadata: z
      .record(z.string().max(64), z.string().max(512))
      .refine((pairs) => Object.keys(pairs).length <= 16, { error: 'has more than 16 pairs' })
      .nullish(),
    output_expires_after: z
      .object({
        anchor: z.literal('created_at'),
        seconds: z.int().min(minKeepSeconds).max(maxKeepSeconds),
      })
      .nullish()
      .describe('When the result files expire. Default: never.'),
  })
  .meta({ id: 'CreateBatch' })

const time = z.number().nullable().describe('Unix seconds.')

export const batchSchema = z
  .object({
    id: z.string(),
    object: z.literal('batch'),
    endpoint: z.string(),
    model: z.string().nullable().describe('The model of all lines; null where they name several.'),
    errors: z
      .object({
        object: z.literal('list'),
        data: z.array(
          z.object({
            code: z.string(),
            message: z.string(),
            param: z.string().nullable(),
            line: z.number().nullable().describe('Line of the input file, from 1.'),
          }),
        ),
      })
      .nullable(),
    input_file_id: z.string(),
    completion_window: z.string(),
    status: z.enum(BatchStatus),
    output_file_id: z.string().nullable(),
    error_file_id: z.string().nullable(),
    created_at: z.number().describe('Unix seconds.'),
    in_progress_at: time,
    expires_at: time,
    finalizing_at: time,
    completed_at: time,
    failed_at: time,
    expired_at: time,
    cancelling_at: time,
    cancelled_at: time,
    request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
    usage: z.object({
      input_tokens: z.number(),
      input_tokens_details: z.object({ cached_tokens: z.number() }),
      output_tokens: z.number(),
      output_tokens_details: z.object({ reasoning_tokens: z.number() }),
      total_tokens: z.number(),
    }),
    metadata: z.record(z.string(), z.string()).nullable(),
  })
  .meta({ id: 'Batch' })

/** Converts a batch to OpenAI's shape. */
export function toBatchAnswer(batch: Batch): z.output<typeof batchSchema> {
  const { times, tally, total } = batch
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.model,
    errors: batch.errors.length === 0 ? null : { object: 'list', data: batch.errors },
    input_file_id: batch.inputFileId,
    completion_window: batch.completionWindow,
    status: batch.status,
    output_file_id: batch.outputFileId,
    error_file_id: batch.errorFileId,
    created_at: toSeconds(batch.createdAt)!,
    in_progress_at: toSeconds(times.in_progress_at),
    expires_at: toSeconds(batch.expiresAt),
    finalizing_at: toSeconds(times.finalizing_at),
    completed_at: toSeconds(times.completed_at),
    failed_at: toSeconds(times.failed_at),
    expired_at: toSeconds(times.expired_at),
    cancelling_at: toSeconds(times.cancelling_at),
    cancelled_at: toSeconds(times.cancelled_at),
    request_counts: { total, completed: tally.completed, failed: tally.failed },
    usage: {
      input_tokens: tally.inputTokens,
      input_tokens_details: { cached_tokens: tally.cachedTokens },
      output_tokens: tally.outputTokens,
      output_tokens_details: { reasoning_tokens: tally.reasoningTokens },
      total_tokens: tally.inputTokens + tally.outputTokens,
    },
    metadata: batch.metadata,
  }
}

function toSeconds(ms: number | null): number | null {
  return ms === null ? null : Math.floor(ms / 1000)
}
