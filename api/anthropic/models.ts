import type { FastifyRequest } from 'fastify'
import { z } from 'zod'

/** A model in Anthropic's shape. Its creation time is unknown. */
export const anthropicModelSchema = z
  .object({
    type: z.literal('model'),
    id: z.string().describe('`provider/model`, or an alias.'),
    display_name: z.string(),
    created_at: z.string(),
  })
  .meta({ id: 'AnthropicModel', description: 'Where the request has an `anthropic-version`.' })

export const anthropicListSchema = z.object({
  data: z.array(anthropicModelSchema),
  has_more: z.literal(false),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
})

/** Anthropic's clients send the API version with every request. */
export function isForAnthropic({ headers }: FastifyRequest): boolean {
  return headers['anthropic-version'] !== undefined
}

export function toAnthropicModel(id: string): z.output<typeof anthropicModelSchema> {
  return { type: 'model', id, display_name: id, created_at: '1970-01-01T00:00:00Z' }
}

/** Returns all models: there are no further pages. */
export function toAnthropicList(ids: readonly string[]): z.output<typeof anthropicListSchema> {
  return {
    data: ids.map(toAnthropicModel),
    has_more: false,
    first_id: ids[0] ?? null,
    last_id: ids.at(-1) ?? null,
  }
}
