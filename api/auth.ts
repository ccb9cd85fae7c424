import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import type { Keyring, Tenant } from '../config/tenants.ts'
import { ApiError, notFound } from './errors.ts'

/** Who may use a route. A route that says nothing asks for a key. */
export type Access = 'public' | 'tenant' | 'admin'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
  }
}

/** The name of the request's decorator; read it with `tenantOf`. */
export const tenantDecorator = 'tenant'

/** The name of the decorator with the tenant whose key was sent; read it with `callerOf`. */
export const callerDecorator = 'caller'

/** The tenant whose things the request is about. Only for routes that are not public. */
export function tenantOf(request: FastifyRequest): Tenant {
  return read(request, tenantDecorator)
}

/** The tenant whose key was sent: `tenantOf`, unless an administrator acts as another. */
export function callerOf(request: FastifyRequest): Tenant {
  return read(request, callerDecorator)
}

/** Whose key was sent, and as whom it acts; null where a tenant speaks for itself, and on public routes. */
export function readActing(request: FastifyRequest): { admin: string; tenant: string } | null {
  const caller = request.getDecorator<Tenant | null>(callerDecorator)
  const tenant = request.getDecorator<Tenant | null>(tenantDecorator)
  if (caller === null || tenant === null || caller.name === tenant.name) return null
  return { admin: caller.name, tenant: tenant.name }
}

function read(request: FastifyRequest, decorator: string): Tenant {
  const tenant = request.getDecorator<Tenant | null>(decorator)
  if (tenant === null) throw new Error('a public route has no tenant')
  return tenant
}

/**
 * Finds the tenant of a request by its bearer key and refuses what the key may not do. With an admin key `x-tenant` names
 * another tenant to act as.
 */
export function createAuthHook(deps: { keyring(): Keyring }): onRequestHookHandler {
  return (request, _reply, done) => {
    const access = request.routeOptions.config.access ?? 'tenant'
    // An unknown path is answered 404 with and without a key; a browser asks what a page may do without one.
    if (access === 'public' || request.is404 || request.method === 'OPTIONS') return done()
    try {
      const actsAs = request.headers['x-tenant']
      const asked = {
        authorization: readKeyHeader(request),
        actsAs: actsAs === undefined ? undefined : String(actsAs),
      }
      const { caller, tenant } = authenticate(asked, access, deps.keyring())
      request.setDecorator(callerDecorator, caller)
      request.setDecorator(tenantDecorator, tenant)
      done()
    } catch (error) {
      done(error as ApiError)
    }
  }
}

/**
 * Whose key it is, and the tenant that what is asked for is about. Throws `unauthorized`, `forbidden`, or `not_found` where there
 * is no tenant to act as.
 */
export function authenticate(
  { authorization, actsAs }: { authorization: string | undefined; actsAs: string | undefined },
  access: Exclude<Access, 'public'>,
  keyring: Keyring,
): { caller: Tenant; tenant: Tenant } {
  const caller = findTenant(authorization, keyring)
  if (caller === null) throw new ApiError('unauthorized', 'send a valid key: Authorization: Bearer <key>')
  if (access === 'admin' && !caller.admin) throw new ApiError('forbidden', 'this route needs an admin key')
  if (actsAs === undefined || keyring.open) return { caller, tenant: caller }
  if (!caller.admin) {
    throw new ApiError('forbidden', 'x-tenant: acting as a tenant needs an admin key', { param: 'x-tenant' })
  }
  const tenant = keyring.named(actsAs)
  if (tenant === null) throw notFound('tenant')
  return { caller, tenant }
}

/** What `Authorization` says, or would say: Azure's clients send their key as `api-key`, Anthropic's as `x-api-key`. */
export function readKeyHeader({ headers }: FastifyRequest): string | undefined {
  const key = headers['api-key'] ?? headers['x-api-key']
  return headers.authorization ?? (typeof key === 'string' ? `Bearer ${key}` : undefined)
}

/** The tenant of an `Authorization` header; null where it names none. */
export function findTenant(authorization: string | undefined, keyring: Keyring): Tenant | null {
  // An open service ignores keys, a malformed header included.
  if (keyring.open) return keyring.find('')
  const key = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
  return key === undefined ? null : keyring.find(key)
}
