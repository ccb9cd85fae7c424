import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { listLanes } from '../../config/lanes.ts'
import { mayCall } from '../../config/model-access.ts'
import type { Tenant } from '../../config/tenants.ts'
import {
  anthropicListSchema,
  anthropicModelSchema,
  isForAnthropic,
  toAnthropicList,
  toAnthropicModel,
} from '../anthropic/models.ts'
import { tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { listPermitted, resolvePermitted } from '../jobs/permitted-models.ts'
import { errorResponses } from '../schemas/common.ts'
import { modelNotFound } from './missing-model.ts'

/** Owner of aliases, which the configuration adds. */
const OWNER = 'sluice'

const tags = ['OpenAI-compatible']
const modelSchema = z
  .object({
    id: z.string().describe('`provider/model`, or an alias.'),
    object: z.literal('model'),
    created: z.number().describe('Unknown: always 0.'),
    owned_by: z.string().describe("The provider's name; `sluice` for an alias."),
  })
  .meta({ id: 'Model' })

/** The names that a request may use as its `model`: lanes and aliases. */
export function registerModelRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/models',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'listModels',
        summary: 'List models and aliases',
        response: {
          200: z.union([
            z.object({ object: z.literal('list'), data: z.array(modelSchema) }),
            anthropicListSchema,
          ]),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const config = deps.config()
      const named = listLanes(config).map((lane) => toModel(lane.id, lane.provider))
      const { name: tenant, models } = tenantOf(request)
      const open = Object.keys(config.providers).filter((name) =>
        Object.hasOwn(config.providers[name]!.models, '*'),
      )
      const used = await Promise.all(
        open.map(async (provider) =>
          (await deps.store.jobs.models(tenant, provider)).map((model) =>
            toModel(`${provider}/${model}`, provider),
          ),
        ),
      )
      // A model that was configured since is listed once.
      const known = new Set(named.map(({ id }) => id))
      const lanes = [...named, ...used.flat().filter(({ id }) => !known.has(id))]
      const aliases = Object.keys(config.routes)
        .filter((alias) => resolvePermitted({ ...(models ? { models } : {}) }, alias, deps).lanes.length > 0)
        .map((alias) => toModel(alias, OWNER))
      return shapeList(request, [...lanes.filter(({ id }) => mayCall(models, id)), ...aliases])
    },
  )

  function find(tenant: Tenant, id: string): z.output<typeof modelSchema> {
    const lane = resolvePermitted(tenant, id, deps).lanes[0]
    if (lane === undefined) throw modelNotFound(id, listPermitted(tenant, deps), 'model')
    return toModel(id, lane.id === id ? lane.provider : OWNER)
  }

  app.get(
    '/v1/models/:model',
    {
      config: { access: 'read' },
      schema: {
        tags,
        operationId: 'getModel',
        summary: 'Get a model or an alias',
        params: z.object({
          model: z.string().describe('`provider/model`, with its slash as `/` or as `%2F`; or an alias.'),
        }),
        response: { 200: z.union([modelSchema, anthropicModelSchema]), ...errorResponses },
      },
    },
    async (request) => shapeModel(request, find(tenantOf(request), request.params.model)),
  )
  // The same for names with unescaped slashes.
  app.get(
    '/v1/models/*',
    {
      config: { access: 'read' },
      schema: {
        hide: true,
        params: z.object({ '*': z.string() }),
        response: { 200: z.union([modelSchema, anthropicModelSchema]), ...errorResponses },
      },
    },
    async (request) => shapeModel(request, find(tenantOf(request), request.params['*'])),
  )
}

function toModel(id: string, owner: string): z.output<typeof modelSchema> {
  return { id, object: 'model', created: 0, owned_by: owner }
}

type Model = z.output<typeof modelSchema>

function shapeModel(request: FastifyRequest, model: Model) {
  return isForAnthropic(request) ? toAnthropicModel(model.id) : model
}

function shapeList(request: FastifyRequest, data: Model[]) {
  if (isForAnthropic(request)) return toAnthropicList(data.map(({ id }) => id))
  return { object: 'list' as const, data }
}
