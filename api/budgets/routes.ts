import { z } from 'zod'
import { tenantNames } from '../../config/tenants.ts'
import { budgetOwners } from '../../jobs/budgets.ts'
import { seesAllTenants, tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { budgetUsageSchema } from '../schemas/budgets.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { type BudgetPlace, listBudgets } from './list-budgets.ts'

const expectedCursor = 'expected the last_id of the page before'

const placeSchema = z.tuple([z.string(), z.enum(budgetOwners), z.string(), z.int().min(0)])

/** A position in the list, as clients see it. */
const cursor = z
  .string()
  .max(1000)
  .transform((text, context): BudgetPlace => {
    const place = placeSchema.safeParse(readJson(Buffer.from(text, 'base64url').toString('utf8')))
    if (!place.success) {
      context.addIssue({ code: 'custom', message: expectedCursor })
      return z.NEVER
    }
    const [tenant, owner, name, index] = place.data
    return { tenant, owner, name, index }
  })

const listedBudgetSchema = budgetUsageSchema
  .extend({
    id: z.string().describe('Its position in the list.'),
    object: z.literal('budget'),
    tenant: z.string(),
    label: z.string().nullable().describe('The name of the key or flow.'),
  })
  .meta({ id: 'ListedBudget' })

/** Budgets of tenants, keys, fair keys, groups and flows, and their usage. */
export function registerBudgetRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/budgets',
    {
      config: { access: 'read' },
      schema: {
        tags: ['Usage'],
        operationId: 'listBudgets',
        summary: 'List budgets with their state',
        description:
          'By tenant, owner and name. A key with `admin` or `admin: read` sees all tenants, any other its own. Of fair keys it lists the up to 100 that spent most in the ' +
          'current window; of flows up to 100 that run and 100 that wait. Keys of the configuration have no budgets.',
        querystring: z.object({
          owner: z.enum(budgetOwners).optional().describe('Budgets of this kind of owner.'),
          fair_key: z.string().min(1).max(256).optional().describe('Only budgets of this fair key.'),
          limit: z.coerce.number().int().min(1).max(1000).default(100),
          after: cursor.optional().describe('The last id of the page before.'),
        }),
        response: { 200: listSchema(listedBudgetSchema), ...errorResponses },
      },
    },
    async (request) => {
      const { owner, fair_key: fairKey, limit, after } = request.query
      const { store, tenants, config, now } = deps
      const { budgets, stats: tenantStats, madeKeys } = tenants
      const source = { config, now, flows: store.flows, budgets, tenantStats, madeKeys }
      const names = seesAllTenants(request) ? tenantNames(config()) : [tenantOf(request).name]
      const { data, hasMore } = await listBudgets(
        source,
        { tenants: names, owner, fairKey },
        limit,
        after ?? null,
      )
      const shown = data.map(({ place, budget }) => ({
        id: toCursor(place),
        object: 'budget' as const,
        ...budget,
      }))
      return toList(shown, hasMore)
    },
  )
}

function toCursor({ tenant, owner, name, index }: BudgetPlace): string {
  return Buffer.from(JSON.stringify([tenant, owner, name, index])).toString('base64url')
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
