import { z } from 'zod'
import { count, duration, size } from './schema-parts.ts'

/** How a job may be served: at once, slower for less, in the provider's own batches, or by the cheapest way in time. */
export const tierSchema = z.enum(['standard', 'flex', 'batch', 'auto'])
export type Tier = z.output<typeof tierSchema>

const flex = z.strictObject({
  timeout: duration({ max: '24h' })
    .prefault('15m')
    .describe('How long one call at flex may take. Default 15m.'),
  fall_back_after: duration({ max: '7d' })
    .prefault('10m')
    .describe(
      'How long after its first call at flex a job without an answer is sent at standard instead. Default 10m.',
    ),
})

const batch = z.strictObject({
  model: z
    .string()
    .min(1)
    .optional()
    .describe(
      "The model's name in batches, where it has another one: at Azure a deployment of type Global Batch.",
    ),
  gather: duration({ max: '24h' })
    .prefault('60s')
    .describe('How long jobs are gathered for one batch of the provider. Default 60s.'),
  max_lines: count().max(100_000).prefault(50_000).describe('Jobs in one batch at the most. Default 50000.'),
  max_bytes: size().prefault('200MB').describe('Bytes of one batch at the most. Default 200MB.'),
  max_queued_tokens: count()
    .prefault(3_000_000)
    .describe("Tokens of the model in the provider's batches at once. Default 3000000."),
  poll: duration({ min: '10ms', max: '1h' })
    .prefault('30s')
    .describe('How often a batch is looked at. Default 30s.'),
  leave_before: duration({ max: '7d' })
    .prefault('2h')
    .describe(
      'How long before its deadline a job without an answer leaves its batch by a faster way. Default 2h.',
    ),
})

const off = z.literal('off')

/** The slower, cheaper ways of a model. */
export const tiersSchema = z.strictObject({
  flex: z
    .union([off, flex])
    .optional()
    .describe('`service_tier: flex`. Kinds openai, azure-openai and gemini have it anyway, unless `off`.'),
  batch: z
    .union([off, batch])
    .optional()
    .describe(
      "The provider's own batch API. Kinds openai, azure-openai, anthropic and gemini have it anyway, unless `off`; openai-compatible where this stands.",
    ),
})

export type FlexSettings = z.output<typeof flex>
export type BatchSettings = z.output<typeof batch>

export const flexDefaults: FlexSettings = flex.parse({})
export const batchDefaults: BatchSettings = batch.parse({})
