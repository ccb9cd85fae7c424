import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import type { Keyring, Tenant } from '../config/tenants.ts'
import { ApiError } from './errors.ts'

/** Who may use a route. A route that says nothing asks for a key. */
export type Access = 'public' | 'tenant' | 'admin'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
  }
}

/** The name of the request's decorator; read it with `tenantOf`. */
export const tenantDecorator = 'tenant'

/** The tenant whose request this is. Only for routes that are not public. */
export function tenantOf(request: FastifyRequest): Tenant {
  const tenant = request.getDecorator<Tenant | null>(tenantDecorator)
  if (tenant === null) throw new Error('a public route has no tenant')
  return tenant
}

/** Finds the tenant of a request by its bearer key and refuses what the key may not do. */
export function createAuthHook(deps: { keyring(): Keyring }): onRequestHookHandler {
  return (request, _reply, done) => {
    const access = request.routeOptions.config.access ?? 'tenant'
    // An unknown path is answered 404 with and without a key.
    if (access === 'public' || request.is404) return done()
    const tenant = findTenant(request.headers.authorization, deps.keyring())
    if (tenant === null)
      return done(new ApiError('unauthorized', 'send a valid key: Authorization: Bearer <key>'))
    if (access === 'admin' && !tenant.admin)
      return done(new ApiError('forbidden', 'this route needs an admin key'))
    request.setDecorator(tenantDecorator, tenant)
    done()
  }
}

/** The tenant of an `Authorization` header; null where it names none. */
export function findTenant(authorization: string | undefined, keyring: Keyring): Tenant | null {
  // An open service ignores keys, a malformed header included.
  if (keyring.open) return keyring.find('')
  const key = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
  return key === undefined ? null : keyring.find(key)
}
