import { z } from 'zod'
import { resolveLane } from '../../config/lanes.ts'
import type { Api, RouteContext } from '../deps.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { providerBatchSchema, showProviderBatch } from './schema.ts'

/** Provider batches, for operators. */
export function registerProviderBatchRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/provider-batches',
    {
      config: { access: 'admin' },
      schema: {
        tags: ['Lanes'],
        operationId: 'listProviderBatches',
        summary: 'List batches of providers',
        description: 'The latest ones of all lanes, newest first. Ended ones are listed for seven days.',
        querystring: z.object({
          limit: z.coerce.number().int().min(1).max(1000).default(100).describe('Default 100.'),
        }),
        response: { 200: listSchema(providerBatchSchema), ...errorResponses },
      },
    },
    async ({ query }) => {
      const batches = await deps.overview.providerBatches.recent(query.limit + 1)
      const shown = batches
        .slice(0, query.limit)
        .map((batch) => showProviderBatch(batch, resolveLane(deps.config(), batch.lane)))
      return toList(shown, batches.length > query.limit)
    },
  )
}
