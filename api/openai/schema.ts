import { z } from 'zod'
import { jobSchema } from '../jobs/schema.ts'

/** An error of the provider, or ours in the same shape. Any code may come. */
const openAiErrorSchema = z
  .object({
    error: z.looseObject({
      message: z.string(),
      type: z.string(),
      param: z.unknown(),
      code: z.union([z.string(), z.number()]).nullable(),
    }),
  })
  .meta({
    id: 'ProviderErrorAnswer',
    description: "The provider's error as it came, or ours in the same shape.",
  })

export const openAiErrorResponses = { '4xx': openAiErrorSchema, '5xx': openAiErrorSchema }

export const openAiTags = ['OpenAI-compatible']

export const jobAccepted = {
  description: 'The job, for `Prefer: respond-async`.',
  content: { 'application/json': { schema: jobSchema } },
}

/** The content of an answer that is sent unchanged. */
export const looseJson = (what: string) => ({
  'application/json': { schema: z.looseObject({}).describe(what) },
})
