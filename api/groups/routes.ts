import { z } from 'zod'
import type { GroupEntry, GroupPlace } from '../../jobs/job.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { checkId, notFound } from '../errors.ts'
import { groupEntrySchema, groupSummarySchema } from '../jobs/schema.ts'
import { errorResponses, listSchema, pageQuery } from '../schemas/common.ts'

const tags = ['Groups']

/** A group moves when it changes, so a page begins behind a place and not behind a name. */
const cursor = z
  .string()
  .regex(/^\d{1,15}:[A-Za-z0-9_.:-]{1,128}$/, { error: 'expected the last_id of the page before' })

function toPlace(text: string): GroupPlace {
  const colon = text.indexOf(':')
  return { at: Number(text.slice(0, colon)), group: text.slice(colon + 1) }
}

const toCursor = ({ group, updated_at }: GroupEntry) => `${Date.parse(updated_at)}:${group}`

/** Jobs that were submitted as one group. */
export function registerGroupRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/groups',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listGroups',
        summary: 'List groups, those that changed last first',
        querystring: z.object({ ...pageQuery('group'), after: cursor.optional() }),
        response: { 200: listSchema(groupEntrySchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after } = request.query
      const { data, hasMore } = await deps.jobs.groups(
        tenantOf(request).name,
        limit,
        after === undefined ? undefined : toPlace(after),
      )
      const places = data.map(toCursor)
      return {
        object: 'list' as const,
        data,
        has_more: hasMore,
        first_id: places[0] ?? null,
        last_id: places.at(-1) ?? null,
      }
    },
  )

  app.get(
    '/v1/groups/:group',
    {
      config: { access: 'read' },
      schema: {
        tags,
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
