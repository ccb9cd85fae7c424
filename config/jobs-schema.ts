import { z } from 'zod'
import { encryptionKeyPattern } from './encryption-key.ts'
import { cacheModeSchema } from './provider-schema.ts'
import { count, duration, size } from './schema-parts.ts'

export const cacheSchema = z.strictObject({
  mode: cacheModeSchema
    .prefault('exact')
    .describe(
      '"exact": equal jobs share one answer. "off": every job makes its own call, and no answer is cached. Default exact.',
    ),
  ttl: duration().prefault('24h').describe('How long a cached answer is used.'),
  max_result: size().prefault('1MiB').describe('Answers over this size are not cached.'),
  embedding_items: z
    .boolean()
    .prefault(true)
    .describe('Also cache the vector of each input of an embedding job. Default true.'),
})

export const jobsSchema = z.strictObject({
  retain: duration()
    .prefault('7d')
    .describe('How long Sluice keeps a finished job with its result and events.'),
  hot: duration({ min: '1s' })
    .prefault('1h')
    .describe(
      'With a history: how long a finished job stays in Redis. After that its events are gone. No effect without a history.',
    ),
  max_queued: count()
    .prefault(1_000_000)
    .describe(
      'How many open jobs all tenants together may have, and each tenant without its own max_queued.',
    ),
  max_schedules: count()
    .prefault(1_000)
    .describe('How many schedules a tenant without its own max_schedules may have.'),
  stalled_after: duration({ min: '1s', max: '10m' })
    .prefault('15s')
    .describe(
      'How long a worker may be silent before others take over its jobs. The same in all processes. Restart to change.',
    ),
})

export const flowsSchema = z.strictObject({
  max_steps: z.int().min(1).max(1_000).prefault(1_000).describe('How many steps a flow may have.'),
  max_elements: z
    .int()
    .min(1)
    .max(10_000)
    .prefault(10_000)
    .describe('How many elements the list of a for_each may have; each is a job.'),
  max_open: count().prefault(10_000).describe('How many open flows a tenant may have.'),
  max_size: size().prefault('4MiB').describe('How many bytes a flow may have as JSON, including its input.'),
  max_signal: size().prefault('256KiB').describe('How many bytes a signal may have as JSON.'),
  max_value: size()
    .prefault('16MiB')
    .describe('How many bytes of results the expressions of one step may read in total.'),
})

export const encryptionSchema = z.strictObject({
  keys: z
    .array(
      z.string().regex(encryptionKeyPattern, {
        error: 'expected a key of 32 bytes, as base64 or as 64 hex digits',
      }),
    )
    .max(32)
    .prefault([])
    .describe(
      'Keys of 32 bytes each, as base64 or hex: the first encrypts, all decrypt. None: nothing is encrypted.',
    ),
})
