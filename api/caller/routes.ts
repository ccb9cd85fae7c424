import { z } from 'zod'
import { scopes } from '../../config/scopes.ts'
import { callerOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { tenantSchema } from '../overview/schema.ts'
import { describeTenants } from '../overview/tenants.ts'
import { errorResponses } from '../schemas/common.ts'

const answerSchema = z
  .object({
    object: z.literal('caller'),
    tenant: z.string().describe('The tenant whose key was sent.'),
    key: z.string().nullable().describe('The id of the key; null for one of the configuration.'),
    scopes: z.array(z.enum(scopes)).describe('What the key may do within its tenant.'),
    reads_all: z
      .boolean()
      .describe('Whether it may read everything of all tenants, and what is for administrators.'),
    open: z.boolean().describe('No tenants are configured, so no key is needed.'),
    figures: tenantSchema.nullable().describe('Current figures of the tenant.'),
  })
  .meta({ id: 'Caller' })

/** What the key of the request may do. */
export function registerCallerRoute(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/caller',
    {
      config: { access: 'read' },
      schema: {
        tags: ['Tenants'],
        operationId: 'getCaller',
        summary: 'Get what your key may do',
        response: { 200: answerSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name, key, scopes, readsAll } = callerOf(request)
      const figures = describeTenants(deps.config(), await deps.tenants.stats.read([name]))
      return {
        object: 'caller' as const,
        tenant: name,
        key,
        scopes: [...scopes],
        reads_all: readsAll === true || scopes.includes('admin'),
        open: deps.tenants.keyring().open,
        figures: figures[0] ?? null,
      }
    },
  )
}
