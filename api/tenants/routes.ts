import { z } from 'zod'
import type { Config } from '../../config/schema.ts'
import { resolveTenant, tenantNames } from '../../config/tenants.ts'
import { tenantSettings } from '../../config/tenants-schema.ts'
import { type MadeTenant, type TenantSettings, toLine } from '../../tenants/registry.ts'
import { actorOf, callerOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'
import { describeTenants } from '../overview/tenants.ts'
import { errorResponses, listSchema, toList } from '../schemas/common.ts'
import { describeOpenWork } from './open-work.ts'
import { refuseFileTenant, refuseOutcome } from './refusals.ts'
import {
  changeTenantSchema,
  createTenantSchema,
  nameParams,
  pauseTenantSchema,
  tenantSchema,
} from './schema.ts'

const tags = ['Tenants']
const config = { access: 'admin' } as const

/** Lists all tenants, and creates, changes and deletes those that are not in the configuration file. */
export function registerTenantRoutes(app: Api, context: RouteContext): void {
  const { deps } = context
  const { registry } = deps.tenants

  app.get(
    '/v1/tenants',
    {
      config,
      schema: {
        tags,
        operationId: 'listTenants',
        summary: 'List all tenants',
        response: { 200: listSchema(tenantSchema), ...errorResponses },
      },
    },
    async () => {
      const { tenants } = (await registry.read())!
      const names = new Set([...tenantNames(deps.tenants.configured()), ...tenants.keys()])
      if (deps.tenants.keyring().open) for (const name of tenants.keys()) names.delete(name)
      return toList(await show([...names], tenants), false)
    },
  )

  app.post(
    '/v1/tenants',
    {
      config,
      schema: {
        tags,
        operationId: 'createTenant',
        summary: 'Create a tenant',
        description: 'Every process knows it within 5 s. It has no key yet.',
        body: createTenantSchema,
        response: { 201: tenantSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { name, ...settings } = request.body
      refuseFileTenant(context, name)
      const outcome = await registry.createTenant(name, withoutUndefined(settings), actorOf(request))
      if (outcome.kind !== 'done') throw refuseOutcome(outcome.kind, 'tenant')
      reply.header('location', `/v1/tenants/${name}`)
      return reply.code(201).send(await showMade(outcome.value))
    },
  )

  app.get(
    '/v1/tenants/:name',
    {
      config,
      schema: {
        tags,
        operationId: 'getTenant',
        summary: 'Get a tenant',
        params: nameParams,
        response: { 200: tenantSchema, ...errorResponses },
      },
    },
    (request) => find(request.params.name),
  )

  app.patch(
    '/v1/tenants/:name',
    {
      config,
      schema: {
        tags,
        operationId: 'changeTenant',
        summary: 'Change a tenant',
        description:
          'Absent members stay; null resets to the default. Every process knows the change within 5 s.',
        params: nameParams,
        body: changeTenantSchema,
        response: { 200: tenantSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name } = request.params
      refuseFileTenant(context, name)
      const outcome = await registry.changeTenant(
        name,
        (settings) => merge(settings, request.body),
        actorOf(request),
      )
      if (outcome.kind !== 'done') throw refuseOutcome(outcome.kind, 'tenant')
      return showMade(outcome.value)
    },
  )

  app.delete(
    '/v1/tenants/:name',
    {
      config,
      schema: {
        tags,
        operationId: 'deleteTenant',
        summary: 'Delete a tenant and its keys',
        description:
          'Refused while it has open jobs, flows or batches, or schedules. Ended jobs stay until `jobs.retain` is over, and are visible again ' +
          'to a new tenant with the same name. Its usage stays in the history until `history.keep` is over.',
        params: nameParams,
        response: {
          200: z.object({ name: z.string(), object: z.literal('tenant'), deleted: z.literal(true) }),
          ...errorResponses,
        },
      },
    },
    async (request) => {
      const { name } = request.params
      refuseFileTenant(context, name)
      const { tenants } = (await registry.read())!
      if (!tenants.has(name)) throw notFound('tenant')
      const open = await describeOpenWork(name, deps)
      if (open !== null) {
        throw new ApiError(
          'tenant_in_use',
          `the tenant ${name} has ${open}: revoke its keys, and cancel these or wait for them, first`,
        )
      }
      const outcome = await registry.deleteTenant(name, actorOf(request))
      if (outcome.kind !== 'done') throw refuseOutcome(outcome.kind, 'tenant')
      return { name, object: 'tenant' as const, deleted: true as const }
    },
  )

  /** The current tenant, of the configuration file or created here. */
  async function find(name: string) {
    const { tenants } = (await registry.read())!
    const isOfFile = tenantNames(deps.tenants.configured()).includes(name)
    if (!isOfFile && (deps.tenants.keyring().open || !tenants.has(name))) throw notFound('tenant')
    const [found] = await show([name], tenants)
    if (found === undefined) throw notFound('tenant')
    return found
  }

  app.post(
    '/v1/tenants/:name/pause',
    {
      config,
      schema: {
        tags,
        operationId: 'pauseTenant',
        summary: 'Pause a tenant',
        description:
          'No call is sent for its jobs, in any lane or process, until the pause ends. Calls under way continue, and new jobs are accepted ' +
          'and wait; those with a cached answer get it.',
        params: nameParams,
        body: pauseTenantSchema,
        response: { 200: tenantSchema, ...errorResponses },
      },
    },
    async (request) => {
      const { name } = await find(request.params.name)
      const { for_ms: forMs = null, reason = 'paused by hand' } = request.body ?? {}
      await deps.tenants.pauses.pause(name, forMs, reason)
      request.log.info({ paused: name, tenant: callerOf(request).name, reason }, 'tenant paused by hand')
      const changes = { paused: { from: null, to: { for_ms: forMs, reason } } }
      await registry.note(toLine(actorOf(request), 'tenant.pause', { tenant: name }, changes))
      return find(name)
    },
  )

  app.post(
    '/v1/tenants/:name/resume',
    {
      config,
      schema: {
        tags,
        operationId: 'resumeTenant',
        summary: 'Resume a tenant',
        description: 'Its waiting jobs may start at once. It takes no body.',
        params: nameParams,
        response: { 200: tenantSchema, ...errorResponses },
      },
    },
    async (request) => {
      if (request.body) throw new ApiError('invalid_request', 'body: resume takes no body', { param: 'body' })
      const { name } = await find(request.params.name)
      await deps.tenants.pauses.resume(name)
      request.log.info({ resumed: name, tenant: callerOf(request).name }, 'tenant resumed by hand')
      await registry.note(toLine(actorOf(request), 'tenant.resume', { tenant: name }))
      return find(name)
    },
  )

  async function showMade(tenant: MadeTenant) {
    const [found] = await show([tenant.name], new Map([[tenant.name, tenant]]))
    return found!
  }

  /** The tenants in the store; this process may not have read them yet. */
  async function show(
    names: string[],
    made: ReadonlyMap<string, MadeTenant>,
  ): Promise<z.input<typeof tenantSchema>[]> {
    const file = deps.tenants.configured()
    const added = names.flatMap((name): [string, Config['tenants'][string]][] => {
      const tenant = made.get(name)
      if (tenant === undefined || Object.hasOwn(file.tenants, name)) return []
      const parsed = tenantSettings.safeParse(tenant.settings)
      return parsed.success ? [[name, { ...parsed.data, keys: [], admin: false }]] : []
    })
    const whole: Config = { ...file, tenants: { ...Object.fromEntries(added), ...file.tenants } }
    const figures = describeTenants(whole, await deps.tenants.stats.read(names))
    return figures.map((one) => {
      const settings = Object.hasOwn(whole.tenants, one.id) ? whole.tenants[one.id]! : null
      const isOfFile = tenantNames(file).includes(one.id)
      const createdAt = isOfFile ? null : (made.get(one.id)?.createdAt ?? null)
      return {
        ...one,
        object: 'tenant' as const,
        name: one.id,
        source: isOfFile ? ('file' as const) : ('api' as const),
        admin: resolveTenant(whole, one.id)?.scopes.includes('admin') ?? false,
        limits: settings?.limits ?? {},
        per_fair_key: settings?.per_fair_key ?? null,
        models: settings?.models ?? null,
        created_at: createdAt === null ? null : new Date(createdAt).toISOString(),
      }
    })
  }
}

function merge(settings: TenantSettings, patch: z.output<typeof changeTenantSchema>): TenantSettings {
  const { limits, per_fair_key, ...others } = patch
  let next = withoutNull({ ...settings, ...withoutUndefined(others) })
  for (const [name, changed] of Object.entries({ limits, per_fair_key })) {
    if (changed === undefined) continue
    const known = (settings[name] ?? {}) as object
    const merged = changed === null ? null : withoutNull({ ...known, ...withoutUndefined(changed) })
    next = withoutNull({ ...next, [name]: merged })
  }
  return next
}

function withoutUndefined(members: object): TenantSettings {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}

function withoutNull(members: object): TenantSettings {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null))
}
