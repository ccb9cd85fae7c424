import { z } from 'zod'
import { isJsonObject } from '../../lib/json.ts'

/**
 * Bodies in the providers' form. Only members that this service reads are checked. All others pass through unchanged, so that new
 * parameters of a provider work at once.
 */
const model = z.string().min(1).max(512).describe('`provider/model`, or an alias of the configuration.')
const stream = z
  .boolean()
  .nullish()
  .describe('True: chunks are published as `job.delta` events as they arrive.')

export const chatBodySchema = z
  .looseObject({
    model,
    messages: z.array(z.looseObject({ role: z.string().min(1) })).min(1),
    stream,
  })
  .meta({ id: 'ChatBody', description: 'A body of `POST /chat/completions`.' })

export const responseBodySchema = z
  .looseObject({
    model,
    input: z.union([z.string(), z.array(z.unknown())]).nullish(),
    stream,
  })
  .meta({ id: 'ResponseBody', description: 'A body of `POST /responses`.' })

export const completionBodySchema = z
  .looseObject({
    model,
    prompt: z.union([z.string(), z.array(z.unknown()).min(1)], { error: 'expected a string or an array' }),
    stream,
  })
  .meta({ id: 'CompletionBody', description: 'A body of `POST /completions`.' })

export const moderationBodySchema = z
  .looseObject({
    model,
    input: z.union([z.string(), z.array(z.unknown()).min(1)], { error: 'expected a string or an array' }),
  })
  .meta({ id: 'ModerationBody', description: 'A body of `POST /moderations`.' })

export const rerankBodySchema = z
  .looseObject({
    model,
    query: z.string().min(1),
    documents: z.array(z.union([z.string(), z.looseObject({})])).min(1),
    top_n: z.int().min(1).nullish(),
  })
  .meta({ id: 'RerankBody', description: 'A body of `POST /rerank`, as at Cohere and Jina.' })

/** More than any model returns for one request. */
const MAX_IMAGES = 128

export const imageBodySchema = z
  .looseObject({
    model,
    prompt: z.string().min(1),
    n: z.int().min(1).max(MAX_IMAGES).nullish().describe('Number of images; each counts.'),
    stream,
  })
  .meta({ id: 'ImageBody', description: 'A body of `POST /images/generations`.' })

const fileId = z
  .string()
  .regex(/^file-[\w-]{1,120}$/, { error: 'expected the id of a file of yours: file-…' })
const MAX_INPUT_IMAGES = 16

export const imageEditBodySchema = imageBodySchema
  .extend({
    image: z
      .union([fileId, z.array(fileId).min(1).max(MAX_INPUT_IMAGES)], {
        error: `expected the id of a file of yours (file-…), or up to ${MAX_INPUT_IMAGES} of them`,
      })
      .describe('The images to edit, as ids of files.'),
    mask: fileId.nullish().describe('Transparent where the image should change.'),
  })
  .meta({ id: 'ImageEditBody', description: 'A body of `POST /images/edits`, with files by their ids.' })

export const transcriptionBodySchema = z
  .looseObject({ model, file: fileId.describe('The audio, as the id of a file.'), stream })
  .meta({
    id: 'TranscriptionBody',
    description: 'A body of `POST /audio/transcriptions`, with the file by its id.',
  })

export const translationBodySchema = z
  .looseObject({ model, file: fileId.describe('The audio, as the id of a file.') })
  .meta({
    id: 'TranslationBody',
    description: 'A body of `POST /audio/translations`, with the file by its id.',
  })

export const speechBodySchema = z
  .looseObject({ model, input: z.string().min(1) })
  .meta({ id: 'SpeechBody', description: 'A body of `POST /audio/speech`.' })

export const messageBodySchema = z
  .looseObject({
    model,
    max_tokens: z.int().min(1).describe('The maximum number of output tokens; the Messages API requires it.'),
    messages: z.array(z.looseObject({ role: z.string().min(1) })).min(1),
    stream,
    anthropic_beta: z
      .union([z.string(), z.array(z.string())])
      .nullish()
      .describe('What `POST /v1/messages` takes from the header `anthropic-beta`.'),
  })
  .meta({ id: 'MessageBody', description: "A body of Anthropic's `POST /v1/messages`." })

const anObject = z
  .looseObject({})
  .refine((value) => Object.keys(value).length > 0, { error: 'expected an object with members' })

const embeddingInput = z
  .union([z.string().min(1), z.array(z.unknown()).min(1), anObject], {
    error: 'expected a string, an array or an object, none of them empty',
  })
  .superRefine((input, context) => {
    if (!Array.isArray(input)) return
    const kind = kindOfInput(input[0])
    const odd = kind === null ? 0 : input.findIndex((entry) => kindOfInput(entry) !== kind)
    if (odd === -1) return
    context.addIssue({
      code: 'custom',
      path: [odd],
      message:
        'expected all entries to be strings or objects, or all token numbers, or all arrays of token numbers; none empty',
    })
  })
  .describe('A string, strings, tokens, or arrays of tokens; objects if the model takes images.')

export const embeddingBodySchema = z
  .looseObject({ model, input: embeddingInput })
  .meta({ id: 'EmbeddingBody', description: 'A body of `POST /embeddings`.' })

/** Written by hand: a union of typed arrays would collect an issue for each of a hundred thousand tokens. */
function kindOfInput(entry: unknown): 'content' | 'token' | 'tokens' | null {
  if (typeof entry === 'string') return entry === '' ? null : 'content'
  if (isToken(entry)) return 'token'
  if (isJsonObject(entry)) return Object.keys(entry).length > 0 ? 'content' : null
  return Array.isArray(entry) && entry.length > 0 && entry.every(isToken) ? 'tokens' : null
}

function isToken(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
