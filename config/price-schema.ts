import { z } from 'zod'
import { count } from './schema-parts.ts'

const rate = () => z.number().min(0).max(1e6).optional()

const rateShape = {
  input: rate().describe('USD per million input tokens.'),
  cached_input: rate().describe(
    'USD per million input tokens read from the prompt cache. Default: as much below `input` as in the catalogue, else `input`.',
  ),
  cache_write: rate().describe(
    'USD per million input tokens written to the prompt cache. Default: as much over `input` as in the catalogue, else `input`.',
  ),
  cache_write_1h: rate().describe(
    'USD per million input tokens written to a prompt cache that lasts an hour. Default: as much over `input` as in the catalogue, else `cache_write`.',
  ),
  output: rate().describe('USD per million output tokens.'),
  audio_input: rate().describe(
    'USD per million input tokens of audio. Default: the catalogue, else `input`.',
  ),
  audio_output: rate().describe(
    'USD per million output tokens of audio. Default: the catalogue, else `output`.',
  ),
}

const factor = z.number().min(0).max(100)

const byHand = z.strictObject({
  ...rateShape,
  above: z
    .array(
      z.strictObject({
        ...rateShape,
        input_tokens: count().describe('These rates apply to calls with more input tokens than this.'),
      }),
    )
    .max(16)
    .optional()
    .describe('Other rates for calls with a long input. Default: the catalogue.'),
  image: rate().describe('USD per image of an answer.'),
  audio_second: rate().describe('USD per second of audio that the answer reports.'),
  request: rate().describe('USD per request.'),
  tiers: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, { error: 'expected the name of a service tier' }),
      factor,
    )
    .optional()
    .describe(
      'Factors of the standard price, by the tier that the answer names. Default: flex and batch 0.5, priority 2 (of some models of OpenAI less, as published) as far as the kind of provider has them.',
    ),
})

/** The price of a model: from the catalogue, by hand, or by hand over the catalogue. */
export const priceSchema = z.union([z.literal('auto'), byHand])
export type PriceSettings = z.output<typeof priceSchema>
