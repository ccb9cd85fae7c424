import { z } from 'zod'
import { count, duration, size } from './schema-parts.ts'

/** How a job is served: at once, slower and cheaper, in the provider's batches, or by the cheapest way that meets its deadline. */
export const tierSchema = z.enum(['standard', 'flex', 'batch', 'auto'])
export type Tier = z.output<typeof tierSchema>

const flex = z.strictObject({
  timeout: duration({ max: '24h' }).prefault('15m').describe('How long one flex call may take. Default 15m.'),
  fall_back_after: duration({ max: '7d' })
    .prefault('10m')
    .describe('How long after its first flex call a job without an answer is sent at standard. Default 10m.'),
})

const batch = z.strictObject({
  model: z
    .string()
    .min(1)
    .optional()
    .describe(
      "The model's name in batches, if it is different there: for Azure, a deployment of type Global Batch.",
    ),
  gather: duration({ max: '24h' })
    .prefault('60s')
    .describe('How long Sluice gathers jobs for one batch. Default 60s.'),
  max_lines: count().max(100_000).prefault(50_000).describe('The most jobs in one batch. Default 50000.'),
  max_bytes: size().prefault('200MB').describe('The most bytes in one batch. Default 200MB.'),
  max_queued_tokens: count()
    .prefault(3_000_000)
    .describe('The most tokens of the model in open batches of the provider. Default 3000000.'),
  poll: duration({ min: '10ms', max: '1h' })
    .prefault('30s')
    .describe('How often Sluice asks for the state of a batch. Default 30s.'),
  leave_before: duration({ max: '7d' })
    .prefault('2h')
    .describe(
      'How long before its deadline a job without an answer leaves its batch for a faster tier. Default 2h.',
    ),
})

const off = z.literal('off')

/** The slower, cheaper tiers of a model. */
export const tiersSchema = z.strictObject({
  flex: z
    .union([off, flex])
    .optional()
    .describe(
      '`service_tier: flex`. Kinds openai, azure-openai and gemini have it by default, unless `off`.',
    ),
  batch: z
    .union([off, batch])
    .optional()
    .describe(
      "The provider's own batch API. Kinds openai, azure-openai, anthropic and gemini have it by default, unless `off`; openai-compatible only if you set this.",
    ),
})

export type FlexSettings = z.output<typeof flex>
export type BatchSettings = z.output<typeof batch>

export const flexDefaults: FlexSettings = flex.parse({})
export const batchDefaults: BatchSettings = batch.parse({})
