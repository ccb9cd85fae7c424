import { z } from 'zod'
import { groupBudgets } from '../../config/tenants-schema.ts'
import type { BudgetUsage } from '../../jobs/budget-usage.ts'
import type { GroupEntry, GroupPlace } from '../../jobs/job.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, checkId, idPatterns, notFound } from '../errors.ts'
import { refuseWithoutMemory } from '../jobs/refusals.ts'
import { groupEntrySchema, groupSummarySchema } from '../jobs/schema.ts'
import { budgetUsageSchema } from '../schemas/budgets.ts'
import { errorResponses, listSchema, pageQuery } from '../schemas/common.ts'

const tags = ['Groups']

const groupParams = z.object({ group: z.string() })
const groupForm = 'expected 1 to 128 letters, digits or . _ : -'

const groupSchema = groupSummarySchema
  .extend({ budgets: z.array(budgetUsageSchema).describe('Its budgets, with their usage.') })
  .meta({ id: 'Group' })

const setBudgetSchema = z.union([groupBudgets.element, z.strictObject({ budgets: groupBudgets.min(1) })])

const groupBudgetSchema = z
  .object({
    object: z.literal('group_budget'),
    group: z.string(),
    budgets: z.array(budgetUsageSchema),
  })
  .meta({ id: 'GroupBudget' })

/** A group moves in the list when it changes, so a page continues after a position, not after a name. */
const cursor = z
  .string()
  .regex(/^\d{1,15}:[A-Za-z0-9_.:-]{1,128}$/, { error: 'expected the last_id of the page before' })

function toPlace(text: string): GroupPlace {
  const colon = text.indexOf(':')
  return { at: Number(text.slice(0, colon)), group: text.slice(colon + 1) }
}

const toCursor = ({ group, updated_at }: GroupEntry) => `${Date.parse(updated_at)}:${group}`

/** Groups: jobs that were submitted together. */
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
      const { data, hasMore } = await deps.store.jobs.groups(
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
        response: { 200: groupSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name } = tenantOf(request)
      const group = checkId(request.params.group, 'group')
      const [summary, budgets] = await Promise.all([
        deps.store.jobs.group(name, group),
        deps.tenants.budgets.ofGroup(name, group),
      ])
      if (summary === null) throw notFound('group')
      return { ...summary, budgets: budgets ?? [] }
    },
  )

  app.get(
    '/v1/groups/:group/budget',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getGroupBudget',
        summary: 'Get the budgets of a group',
        params: groupParams,
        response: { 200: groupBudgetSchema, ...errorResponses },
      },
    },
    async (request) => {
      const group = checkId(request.params.group, 'group')
      const budgets = await deps.tenants.budgets.ofGroup(tenantOf(request).name, group)
      if (budgets === null) throw notFound('budget')
      return toBudgetAnswer(group, budgets)
    },
  )

  app.put(
    '/v1/groups/:group/budget',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'setGroupBudget',
        summary: 'Set the budgets of a group',
        description:
          'One budget, or several as `budgets`. Without `per` a budget covers the whole life of the group. It counts jobs accepted ' +
          'from then on, and replaces earlier budgets; spending in the current window still counts.',
        params: groupParams,
        body: setBudgetSchema,
        response: { 200: groupBudgetSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name } = tenantOf(request)
      if (!idPatterns.group.test(request.params.group)) {
        throw new ApiError('invalid_request', `group: ${groupForm}`, { param: 'group' })
      }
      const { group } = request.params
      const { body } = request
      const budgets = 'budgets' in body ? body.budgets : [body]
      await refuseWithoutMemory(deps)
      const usages = await deps.tenants.budgets.setOfGroup(name, group, budgets)
      if (usages !== null) return toBudgetAnswer(group, usages)
      throw new ApiError(
        'too_many_budgets',
        `group: ${deps.tenants.budgets.mostGroups} groups of the tenant have budgets, which is the maximum; remove one with DELETE /v1/groups/{group}/budget. ` +
          'A budget expires 400 days after the latest job of its group',
        { param: 'group' },
      )
    },
  )

  app.delete(
    '/v1/groups/:group/budget',
    {
      config: { access: 'jobs' },
      schema: {
        tags,
        operationId: 'deleteGroupBudget',
        summary: 'Remove the budgets of a group',
        params: groupParams,
        response: { 204: z.null(), ...errorResponses },
      },
    },
    async (request, reply) => {
      const group = checkId(request.params.group, 'group')
      if (!(await deps.tenants.budgets.removeOfGroup(tenantOf(request).name, group))) throw notFound('budget')
      return reply.code(204).send(null)
    },
  )
}

function toBudgetAnswer(group: string, budgets: BudgetUsage[]) {
  return { object: 'group_budget' as const, group, budgets }
}
