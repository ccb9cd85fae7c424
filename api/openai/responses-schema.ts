import { z } from 'zod'
import { responseBodySchema } from '../schemas/bodies.ts'

const number = z.coerce.number().int()

/** The body of `POST /v1/responses`. */
export const createResponseSchema = responseBodySchema
  .extend({
    background: z
      .boolean()
      .nullish()
      .describe('True: answers at once. Fetch the response later; it is kept as long as its job.'),
    store: z.boolean().nullish(),
    previous_response_id: z
      .string()
      .nullish()
      .describe("The id of a finished response from here, or the provider's own id of one."),
  })
  .superRefine(({ background, store }, context) => {
    if (background !== true || store !== false) return
    context.addIssue({ code: 'custom', path: ['store'], message: 'cannot be false with background' })
  })
  .meta({ id: 'CreateResponse', description: 'A body of `POST /responses`.' })

export const responseParams = z.object({ id: z.string() })

/** Other members of OpenAI's API are ignored. */
export const retrieveResponseQuery = z.object({
  stream: z.enum(['true', 'false']).optional().describe('Its events, from the first, then live ones.'),
  starting_after: number
    .min(-1)
    .optional()
    .describe('With `stream`: only events with a larger `sequence_number`.'),
})

export const inputItemsQuery = z.object({
  limit: number.min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().max(512).optional().describe('The last id of the page before.'),
})
