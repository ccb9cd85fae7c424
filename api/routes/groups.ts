import { z } from 'zod'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { checkId, notFound } from '../errors.ts'
import { errorResponses } from '../schemas/common.ts'
import { groupSummarySchema } from '../schemas/job.ts'

/** Jobs that were submitted as one group. */
export function registerGroupRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/groups/:group',
    {
      schema: {
        tags: ['Groups'],
        operationId: 'getGroup',
        summary: 'Count the jobs of a group',
        params: z.object({ group: z.string() }),
        response: { 200: groupSummarySchema, ...errorResponses },
      },
    },
    async (request) => {
      const summary = await deps.jobs.group(tenantOf(request).name, checkId(request.params.group, 'group'))
      if (summary === null) throw notFound('group')
      return summary
    },
  )
}
