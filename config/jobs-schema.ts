import { z } from 'zod'
import { encryptionKeyPattern } from './encryption-key.ts'
import { cacheModeSchema } from './provider-schema.ts'
import { count, duration, size } from './schema-parts.ts'

export const cacheSchema = z.strictObject({
  mode: cacheModeSchema
    .prefault('exact')
    .describe(
      '"exact": equal jobs have one answer. "off": every job makes a call of its own, and no answer is kept. Default exact.',
    ),
  ttl: duration().prefault('24h').describe('How long an answer may serve again.'),
  max_result: size().prefault('1MiB').describe('Answers over this size are not cached.'),
  embedding_items: z
    .boolean()
    .prefault(true)
    .describe('Keep the vector of each input of an embedding job by itself as well. Default true.'),
})

export const jobsSchema = z.strictObject({
  retain: duration().prefault('7d').describe('How long a finished job, with its result and events, is kept.'),
  hot: duration({ min: '1s' })
    .prefault('1h')
    .describe(
      'How long a finished job stays in Redis where it goes to the history; its events go then. Nothing without a history.',
    ),
  max_queued: count()
    .prefault(1_000_000)
    .describe('Open jobs of all tenants together, and of a tenant that sets no max_queued of its own.'),
  max_schedules: count()
    .prefault(1_000)
    .describe('Schedules of a tenant that sets no max_schedules of its own.'),
  stalled_after: duration({ min: '1s', max: '10m' })
    .prefault('15s')
    .describe("After how long without a sign of life a worker's jobs go to others."),
})

export const flowsSchema = z.strictObject({
  max_steps: z.int().min(1).max(1_000).prefault(1_000).describe('Steps that a flow may have.'),
  max_elements: z
    .int()
    .min(1)
    .max(10_000)
    .prefault(10_000)
    .describe('Elements that a list of for_each may have: each is a job.'),
  max_open: count().prefault(10_000).describe('Flows of a tenant that may be open at the same time.'),
  max_size: size().prefault('4MiB').describe('Bytes that a flow may have as JSON, its input included.'),
  max_signal: size().prefault('256KiB').describe('Bytes that a signal may have as JSON.'),
  max_value: size()
    .prefault('16MiB')
    .describe('Bytes of results that the expressions of one step may read together.'),
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
