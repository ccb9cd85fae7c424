import { z } from 'zod'
import { CacheMode, Priority, Tier } from '../../jobs/job.ts'
import { isShownTime } from '../../lib/shown-time.ts'
import { idPatterns } from '../errors.ts'
import {
  chatBodySchema,
  completionBodySchema,
  embeddingBodySchema,
  imageBodySchema,
  imageEditBodySchema,
  messageBodySchema,
  moderationBodySchema,
  rerankBodySchema,
  responseBodySchema,
  speechBodySchema,
  transcriptionBodySchema,
  translationBodySchema,
} from '../schemas/bodies.ts'

const maxDelay = 366 * 24 * 60 * 60 * 1000
const maxTimeout = 60 * 60 * 1000
const maxMetadataPairs = 16

const timeError = 'expected an RFC 3339 time such as 2026-12-01T00:00:00.000Z'

/** With its offset taken off it has to be in the years 0000 to 9999 as well, or it could not be shown again. */
export const timeSchema = z.iso
  .datetime({ offset: true, error: timeError, abort: true })
  .refine((text) => isShownTime(Date.parse(text)), { error: timeError })

/** Names in paths and keys: short, and without characters that need escaping. */
export const groupSchema = z
  .string()
  .regex(idPatterns.group, { error: 'expected 1 to 128 letters, digits or _ . : -' })

/** Any name of an end user, such as an e-mail address. It is never part of a Redis key. */
export const fairKeySchema = z.string().regex(/^[^\p{Cc}\p{Cs}]{1,256}$/u, {
  error: 'expected 1 to 256 characters, none of them a control character',
})

export const webhookEventSchema = z.enum(['job.completed', 'job.failed', 'job.cancelled'])

const webhook = z.strictObject({
  url: z.string().min(1).max(2048),
  events: z.array(webhookEventSchema).min(1).max(3).optional().describe('Default: all three.'),
})

export const metadataSchema = z
  .record(z.string().max(64, { error: 'has a key longer than 64 characters' }), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= maxMetadataPairs, {
    error: `has more than ${maxMetadataPairs} pairs`,
  })
  .describe('Up to 16 pairs of strings: keys to 64 characters, values to 512.')

const common = {
  priority: z.enum(Priority).nullish().describe('Default `normal`.'),
  delay_ms: z.int().min(0).max(maxDelay).nullish().describe('Not before this many milliseconds from now.'),
  run_at: timeSchema.nullish().describe('Not before this time. Not together with `delay_ms`.'),
  deadline: timeSchema
    .nullish()
    .describe('A job still waiting then fails; one that cannot start by then is refused.'),
  tier: z
    .enum(Tier)
    .nullish()
    .describe(
      '`standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane.',
    ),
  timeout_ms: z.int().min(1).max(maxTimeout).nullish().describe("Timeout of one call. Default: the lane's."),
  max_attempts: z.int().min(1).max(100).nullish().describe("Default: the lane's."),
  cache: z.enum(CacheMode).nullish().describe('Default `use`.'),
  webhook: webhook.nullish(),
  group: groupSchema.nullish().describe('Jobs of a group are counted and followed together.'),
  fair_key: fairKeySchema
    .nullish()
    .describe(
      "The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key.",
    ),
  metadata: metadataSchema.nullish(),
}

const create = {
  chat: z.strictObject({ type: z.literal('chat'), body: chatBodySchema, ...common }),
  response: z.strictObject({ type: z.literal('response'), body: responseBodySchema, ...common }),
  message: z.strictObject({ type: z.literal('message'), body: messageBodySchema, ...common }),
  embedding: z.strictObject({ type: z.literal('embedding'), body: embeddingBodySchema, ...common }),
  completion: z.strictObject({ type: z.literal('completion'), body: completionBodySchema, ...common }),
  moderation: z.strictObject({ type: z.literal('moderation'), body: moderationBodySchema, ...common }),
  rerank: z.strictObject({ type: z.literal('rerank'), body: rerankBodySchema, ...common }),
  image: z.strictObject({ type: z.literal('image'), body: imageBodySchema, ...common }),
  image_edit: z.strictObject({ type: z.literal('image_edit'), body: imageEditBodySchema, ...common }),
  speech: z.strictObject({ type: z.literal('speech'), body: speechBodySchema, ...common }),
  transcription: z.strictObject({
    type: z.literal('transcription'),
    body: transcriptionBodySchema,
    ...common,
  }),
  translation: z.strictObject({ type: z.literal('translation'), body: translationBodySchema, ...common }),
}

/** The body of `POST /v1/jobs`. */
export const createJobSchema = z
  .discriminatedUnion('type', [
    create.chat,
    create.response,
    create.message,
    create.embedding,
    create.completion,
    create.moderation,
    create.rerank,
    create.image,
    create.image_edit,
    create.speech,
    create.transcription,
    create.translation,
  ])
  .meta({ id: 'CreateJob' })
export type CreateJob = z.output<typeof createJobSchema>

const lineMembers = {
  idempotency_key: z.string().nullish().describe('Like the `Idempotency-Key` header of a single job.'),
}

/** One line of `POST /v1/jobs/bulk`: a create object that may have its own idempotency key. */
export const bulkLineSchema = z
  .discriminatedUnion('type', [
    create.chat.extend(lineMembers),
    create.response.extend(lineMembers),
    create.message.extend(lineMembers),
    create.embedding.extend(lineMembers),
    create.completion.extend(lineMembers),
    create.moderation.extend(lineMembers),
    create.rerank.extend(lineMembers),
    create.image.extend(lineMembers),
    create.image_edit.extend(lineMembers),
    create.speech.extend(lineMembers),
    create.transcription.extend(lineMembers),
    create.translation.extend(lineMembers),
  ])
  .meta({ id: 'BulkLine' })
