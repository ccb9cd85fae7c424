import { z } from 'zod'
import { priceSchema } from './price-schema.ts'
import {
  count,
  duration,
  headerName,
  headerSecret,
  headerValue,
  httpUrl,
  modelNamePattern,
  namePattern,
} from './schema-parts.ts'
import { tierSchema, tiersSchema } from './tier-schema.ts'

const maxTimer = '24h'

/** The defaults of `coalesce` if neither the model nor its provider sets it; `max_wait` in ms. */
export const coalesceDefaults = { max_inputs: 2048, max_tokens: 300_000, max_wait: 20 }

const limitShape = {
  requests_per_minute: count()
    .optional()
    .describe('Requests per minute that the provider allows. Default: no limit.'),
  tokens_per_minute: count()
    .optional()
    .describe('Tokens per minute, input and output together. Default: no limit.'),
  input_tokens_per_minute: count()
    .optional()
    .describe('Input tokens per minute, if the provider counts them separately. Default: no limit.'),
  output_tokens_per_minute: count()
    .optional()
    .describe('Output tokens per minute, if the provider counts them separately. Default: no limit.'),
  images_per_minute: count()
    .optional()
    .describe(
      'Images per minute; each of `n` counts. Not together with `output_tokens_per_minute`. Default: no limit.',
    ),
  audio_seconds_per_minute: count()
    .optional()
    .describe(
      'Seconds of audio per minute that calls send. Not together with `input_tokens_per_minute`. Default: no limit.',
    ),
  requests_per_day: count().optional().describe('Requests per day. Default: no limit.'),
}

const concurrency = z
  .union([count(), z.literal('auto')], { error: 'expected a whole number from 1, or auto' })
  .describe(
    'Calls in flight at once, over all workers. `auto` finds the best number for a self-hosted server. Default 64.',
  )
const window = z
  .union([z.literal('auto'), duration({ max: '1d' })], {
    error: 'expected auto, or a duration from 1ms to 1d',
  })
  .describe('The period over which the provider counts, such as 60s or 1s; `auto` finds out. Default auto.')
const headroom = z
  .number()
  .gt(0)
  .max(1)
  .describe('Share of each limit to use, more than 0 and at most 1. Default 0.99.')

const providerLimits = z.strictObject({
  ...limitShape,
  max_concurrency: concurrency.prefault(64),
  window: window.prefault('auto'),
  headroom: headroom.prefault(0.99),
})

const modelLimits = z.strictObject({
  ...limitShape,
  max_concurrency: concurrency.optional(),
  window: window.optional(),
  headroom: headroom.optional(),
})

const modelPattern = z
  .string()
  .regex(modelNamePattern, {
    error: 'expected the name of a model, in which * matches any characters',
  })
  .describe('A model under `models`; * matches any characters.')

const sharedLimit = z
  .strictObject({
    models: z
      .array(modelPattern)
      .min(1)
      .describe('The models that the provider counts together, such as claude-opus-4-*.'),
    ...limitShape,
    max_concurrency: count()
      .optional()
      .describe('Concurrent calls of all these models. Default: no shared limit.'),
    window: window
      .optional()
      .describe("The period over which the provider counts this limit. Default: the provider's."),
    headroom: headroom.optional().describe("Share of the limit to use. Default: the provider's."),
  })
  .refine(
    ({ models: _, window: __, headroom: ___, ...limits }) =>
      Object.values(limits).some((limit) => limit !== undefined),
    { error: 'expected at least one limit, such as requests_per_minute' },
  )

const timeout = duration({ max: maxTimer }).describe(
  'How long one call may take, to its last byte. Default 120s.',
)

const maxAttempts = z
  .int()
  .min(1)
  .max(100)
  .describe('The most calls for one job, including the first. Default 6.')
const base = duration({ max: maxTimer }).describe(
  'Wait before the first retry; it doubles from retry to retry. Default 500ms.',
)
const cap = duration({ max: maxTimer }).describe('Longest wait between two attempts. Default 60s.')

const providerRetry = z.strictObject({
  max_attempts: maxAttempts.prefault(6),
  base: base.prefault('500ms'),
  cap: cap.prefault('60s'),
})

const modelRetry = z.strictObject({
  max_attempts: maxAttempts.optional(),
  base: base.optional(),
  cap: cap.optional(),
})

const coalesce = z.strictObject({
  max_inputs: count()
    .optional()
    .describe(`The most inputs in one request. Default ${coalesceDefaults.max_inputs}.`),
  max_tokens: count()
    .optional()
    .describe(`The most tokens in one request. Default ${coalesceDefaults.max_tokens}.`),
  max_wait: duration({ min: '0ms', max: '60s' })
    .optional()
    .describe(`How long an input may wait for others. Default ${coalesceDefaults.max_wait}ms.`),
})

/** Names of sources and shared limits. They become parts of Redis keys and of permits. */
const partName = z.string().regex(namePattern, {
  error:
    'expected a name of letters, digits, ".", "_" and "-" that begins with a letter or a digit, 64 characters at the most',
})

const apiKey = headerSecret().describe('API key of the provider, best from the environment.')

const baseUrl = httpUrl().describe('The address of the API, with the version in the path.')

const source = z.strictObject({
  name: partName.describe('A name of your own; permits, metrics and `GET /v1/lanes` show it.'),
  api_key: headerSecret().optional().describe("API key of this account. Default: the provider's."),
  base_url: httpUrl().optional().describe("The address of this account's API. Default: the provider's."),
  deployment: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe(
      "The model's name at this source, such as an Azure deployment. Default: the name of the model.",
    ),
  limits: modelLimits
    .prefault({})
    .describe("The limits of this account; each member overrides the model's and the provider's."),
  weight: z
    .number()
    .gt(0)
    .max(1000)
    .prefault(1)
    .describe(
      "The source's share while all have capacity: a source of weight 3 gets three times the calls of a similar one of weight 1. Default 1.",
    ),
})

const sources = z
  .array(source)
  .min(1)
  .max(32)
  .superRefine((list, context) => {
    const places = new Map<string, number>()
    for (const [index, { name }] of list.entries()) {
      const known = places.get(name)
      if (known === undefined) places.set(name, index)
      else
        context.addIssue({
          code: 'custom',
          path: [index, 'name'],
          message: `is also the name of sources[${known}]`,
        })
    }
  })

/** Whether equal jobs may share one answer. */
export const cacheModeSchema = z.enum(['exact', 'off'])

const model = z.strictObject({
  cache: z
    .strictObject({
      mode: cacheModeSchema
        .prefault('exact')
        .describe(
          '"off": every job of this model makes its own call, and no answer is cached. Default exact.',
        ),
    })
    .prefault({})
    .describe('Whether equal jobs of this model may share an answer.'),
  price: priceSchema
    .optional()
    .describe(
      'What the model costs. It determines cost_usd and counts against budgets. "auto": the published price of the catalogue. A mapping overrides the catalogue, member by member. Default auto; for kind openai-compatible unknown, and costs are null.',
    ),
  price_as: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe(
      "The catalogue's name of this model, such as gpt-5-mini for a deployment with another name. Default: its own name.",
    ),
  default_tier: tierSchema.optional().describe('The tier of jobs that have none. Default standard.'),
  tiers: tiersSchema.prefault({}).describe('Settings of the slower, cheaper tiers.'),
  prompt_cache: z
    .enum(['warm', 'off'])
    .prefault('off')
    .describe(
      '"warm": of several jobs with the same long prefix one is sent first, and the others after its first token, so that they find the prefix in the provider\'s prompt cache. Default off.',
    ),
  max_output_tokens: count()
    .optional()
    .describe(
      'The most output tokens of an answer. A budget reserves as many for a request without a cap until answers are known, and never more. Default: 1024 until answers are known.',
    ),
  limits: modelLimits.prefault({}).describe("The model's own limits; each member replaces the provider's."),
  sources: sources
    .optional()
    .describe(
      "Several keys, accounts, regions or deployments that serve this model, each with limits of its own. Default: the provider's key and address.",
    ),
  timeout: timeout.optional().describe("How long one call may take. Default: the provider's."),
  retry: modelRetry.prefault({}).describe("Retries of this model; each member replaces the provider's."),
  coalesce: coalesce
    .optional()
    .describe(
      "Sends several embedding or moderation jobs in one request; each member overrides the provider's. Write {} for the defaults.",
    ),
})

const modelName = z.string().regex(modelNamePattern, {
  error:
    'a model name starts with a letter, a digit, "/", "@" or "*" and has letters, digits, blanks within and . _ : / @ * + ~ - only, 200 at the most',
})

const shared = {
  headers: z
    .record(headerName, headerValue())
    .prefault({})
    .describe("HTTP headers to send with each call. They override Sluice's own."),
  limits: providerLimits
    .prefault({})
    .describe('The limits of each model, counted separately, unless the model has its own.'),
  shared_limits: z
    .record(partName, sharedLimit)
    .prefault({})
    .describe(
      "Limits that several models share, each with a name of your choice. A call takes capacity from its model's limits and from every shared limit that names the model: from all or from none.",
    ),
  timeout: timeout.prefault('120s'),
  retry: providerRetry
    .prefault({})
    .describe('How failed calls are retried. Each wait is random, up to its length.'),
  coalesce: coalesce
    .optional()
    .describe('Lets embedding jobs of every model share requests. Default: only models that set it.'),
  max_lanes: count()
    .prefault(2500)
    .describe(
      'How many model names that only "*" matches a tenant may use within two minutes. One more gets 429 queue_full.',
    ),
  models: z
    .record(modelName, model)
    .refine((models) => Object.keys(models).length > 0, { error: 'expected at least one model' })
    .describe('The models to serve, by the provider\'s own names. "*" serves every model not listed.'),
}

function kind<Name extends string>(name: Name) {
  return z.literal(name).describe('The API of the provider.')
}

const openai = z.strictObject({
  kind: kind('openai'),
  base_url: baseUrl.prefault('https://api.openai.com/v1'),
  api_key: apiKey,
  ...shared,
})

const azureOpenai = z.strictObject({
  kind: kind('azure-openai'),
  base_url: baseUrl,
  api_key: apiKey,
  api_version: z
    .string()
    .regex(/^[A-Za-z0-9.-]+$/, { error: 'expected an API version such as "2024-10-21" or "preview"' })
    .optional()
    .describe(
      'The api-version query parameter. Default 2024-10-21; not sent where base_url ends in /openai/v1.',
    ),
  ...shared,
})

const anthropic = z.strictObject({
  kind: kind('anthropic'),
  base_url: baseUrl.prefault('https://api.anthropic.com'),
  api_key: apiKey,
  default_max_tokens: count()
    .prefault(4096)
    .describe('The max_tokens of requests without one, because the Messages API requires it. Default 4096.'),
  on_unsupported: z
    .enum(['refuse', 'drop'])
    .prefault('refuse')
    .describe(
      'What happens to members that Anthropic does not support, such as seed: refuse the request and name them, or drop them and report that in the job and in x-dropped-members. Default refuse.',
    ),
  ...shared,
})

const gemini = z.strictObject({
  kind: kind('gemini'),
  base_url: baseUrl.prefault('https://generativelanguage.googleapis.com/v1beta/openai'),
  api_key: apiKey,
  ...shared,
})

const openaiCompatible = z.strictObject({
  kind: kind('openai-compatible'),
  base_url: baseUrl,
  api_key: apiKey.prefault('none'),
  ...shared,
})

/** One provider. `kind` is its API, which decides which members are allowed. */
export const providerSchema = z.discriminatedUnion('kind', [
  openai,
  azureOpenai,
  anthropic,
  gemini,
  openaiCompatible,
])
