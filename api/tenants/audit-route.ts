import { z } from 'zod'
import type { Api, RouteContext } from '../deps.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { auditLineSchema } from './schema.ts'

const query = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  after: z
    .string()
    .regex(/^\d{1,15}-\d{1,10}$/, { error: 'expected the last_id of the page before' })
    .optional()
    .describe('The last id of the page before.'),
})

/** The audit list: who changed what. The store keeps the latest 10,000 lines. */
export function registerAuditRoute(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/audit',
    {
      config: { access: 'admin' },
      schema: {
        tags: ['Tenants'],
        operationId: 'listAudit',
        summary: 'List who changed what, newest first',
        description:
          'Changes of tenants, keys and lanes by the API. The latest 10,000 lines, without secrets.',
        querystring: query,
        response: { 200: listSchema(auditLineSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { limit, after = null } = request.query
      const { lines, hasMore } = await deps.tenants.registry.audit(limit, after)
      const shown = lines.map(({ id, at, actor, action, target, changes }) => ({
        id,
        object: 'audit_line' as const,
        at: new Date(at).toISOString(),
        actor: { tenant: actor.tenant, key: actor.key, ip: actor.ip, request_id: actor.requestId },
        ...{ action, target, changes },
      }))
      return toList(shown, hasMore)
    },
  )
}
