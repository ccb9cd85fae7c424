import { z } from 'zod'
import { defaultScopes } from '../../config/scopes.ts'
import type { MadeKey } from '../../tenants/registry.ts'
import { actorOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { refuseFileTenant, refuseOutcome } from './refusals.ts'
import { createKeySchema, keyParams, keySchema, nameParams, newKeySchema } from './schema.ts'

const tags = ['Tenants']
const config = { access: 'admin' } as const

/** Keys of tenants that the API created. */
export function registerKeyRoutes(app: Api, context: RouteContext): void {
  const { deps } = context
  const { registry } = deps.tenants

  app.post(
    '/v1/tenants/:name/keys',
    {
      config,
      schema: {
        tags,
        operationId: 'createKey',
        summary: 'Create a key of a tenant',
        description: 'Only this answer contains the secret. Every process accepts the key within 5 s.',
        params: nameParams,
        body: createKeySchema,
        response: { 201: newKeySchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { name: tenant } = request.params
      refuseFileTenant(context, tenant)
      const { name = null, expires_at, models = null, budgets, scopes } = request.body
      const expiresAt = expires_at ? Date.parse(expires_at) : null
      if (expiresAt !== null && expiresAt <= deps.now())
        throw new ApiError('invalid_request', 'expires_at: is in the past', { param: 'expires_at' })
      const settings = {
        name,
        expiresAt,
        models,
        budgets: budgets ?? [],
        scopes: scopes ?? [...defaultScopes],
      }
      const outcome = await registry.createKey(tenant, settings, actorOf(request))
      if (outcome.kind !== 'done')
        throw refuseOutcome(outcome.kind, outcome.kind === 'none' ? 'tenant' : 'key')
      const { key, secret } = outcome.value
      reply.header('cache-control', 'no-store').header('location', `/v1/tenants/${tenant}/keys/${key.id}`)
      return reply.code(201).send({ ...show(key), secret })
    },
  )

  app.get(
    '/v1/tenants/:name/keys',
    {
      config,
      schema: {
        tags,
        operationId: 'listKeys',
        summary: 'List the keys of a tenant, newest first',
        description: 'Without secrets, which are not stored. Keys of the configuration are not included.',
        params: nameParams,
        response: { 200: listSchema(keySchema), ...errorResponses },
      },
    },
    async (request) => {
      const { name } = request.params
      const own = await list(name)
      return toList(own.map(show), false)
    },
  )

  app.get(
    '/v1/tenants/:name/keys/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'getKey',
        summary: 'Get a key of a tenant',
        params: keyParams,
        response: { 200: keySchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name, id } = request.params
      const key = (await list(name)).find((one) => one.id === id)
      if (key === undefined) throw notFound('key')
      return show(key)
    },
  )

  app.delete(
    '/v1/tenants/:name/keys/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'revokeKey',
        summary: 'Revoke a key',
        description: 'Every process refuses it within 5 s, and ends its event streams.',
        params: keyParams,
        response: {
          200: z.object({ id: z.string(), object: z.literal('key'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const { name, id } = request.params
      refuseFileTenant(context, name)
      const outcome = await registry.revokeKey(name, id, actorOf(request))
      if (outcome.kind !== 'done') throw refuseOutcome(outcome.kind, 'key')
      return { id, object: 'key' as const, deleted: true as const }
    },
  )

  async function list(name: string): Promise<MadeKey[]> {
    const { tenants, keys } = (await registry.read())!
    const tenant = tenants.get(name)
    const isOfFile = Object.hasOwn(deps.tenants.configured().tenants, name)
    if (isOfFile) return []
    if (tenant === undefined) throw notFound('tenant')
    return [...keys.values()]
      .filter((key) => key.tenant === name && key.tenantId === tenant.id)
      .sort((one, other) => other.createdAt - one.createdAt || (one.id < other.id ? 1 : -1))
  }
}

function show(key: MadeKey): z.input<typeof keySchema> {
  const { id, tenant, name, hint, scopes, models, budgets = [], expiresAt, createdAt } = key
  return {
    id,
    object: 'key',
    ...{ tenant, name, hint, scopes: [...scopes], models: models === null ? null : [...models] },
    budgets: [...budgets],
    expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString(),
    created_at: new Date(createdAt).toISOString(),
  }
}
