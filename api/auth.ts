import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { termsOf, underTerms } from '../config/key-terms.ts'
import { grants, type Scope } from '../config/scopes.ts'
import type { Keyring, Tenant } from '../config/tenants.ts'
import type { Actor } from '../tenants/registry.ts'
import { ApiError, notFound } from './errors.ts'

/** Who may use a route: everybody, or a key with a scope. Each route sets it; the default is administrators. */
export type Access = 'public' | Scope

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
    /** Query parameters with this prefix are not checked against the schema. */
    queryPrefix?: string
  }
}

/** The name of the request's decorator; read it with `tenantOf`. */
export const tenantDecorator = 'tenant'

/** The name of the decorator with the tenant whose key was sent; read it with `callerOf`. */
export const callerDecorator = 'caller'

/** The tenant that the request is about. Only for routes that are not public. */
export function tenantOf(request: FastifyRequest): Tenant {
  return read(request, tenantDecorator)
}

/** The tenant whose key was sent. It differs from `tenantOf` when an administrator acts as another tenant. */
export function callerOf(request: FastifyRequest): Tenant {
  return read(request, callerDecorator)
}

/** Who makes the request and from where, for the audit list. */
export function actorOf(request: FastifyRequest): Actor {
  const { name, key } = callerOf(request)
  return { tenant: name, key, ip: request.ip, requestId: request.id }
}

/** The administrator and the tenant that it acts as; null on public routes, and where a tenant acts for itself. */
export function readActing(request: FastifyRequest): { admin: string; tenant: string } | null {
  const caller = request.getDecorator<Tenant | null>(callerDecorator)
  const tenant = request.getDecorator<Tenant | null>(tenantDecorator)
  if (caller === null || tenant === null || caller.name === tenant.name) return null
  return { admin: caller.name, tenant: tenant.name }
}

/** Whether lists show all tenants: for administrators and `admin: read`, unless they act as one tenant. */
export function seesAllTenants(request: FastifyRequest): boolean {
  const { scopes, readsAll } = callerOf(request)
  return readActing(request) === null && (scopes.includes('admin') || readsAll === true)
}

function read(request: FastifyRequest, decorator: string): Tenant {
  const tenant = request.getDecorator<Tenant | null>(decorator)
  if (tenant === null) throw new Error('a public route has no tenant')
  return tenant
}

/**
 * Finds the tenant of a request by its bearer key, and refuses what the key may not do. With an admin key, `x-tenant` names a tenant to act
 * as.
 */
export function createAuthHook(deps: KeyDeps): onRequestHookHandler {
  return (request, _reply, done) => {
    const access = request.routeOptions.config.access ?? 'admin'
    // An unknown path is answered with 404 with or without a key. A browser's preflight has no key.
    if (access === 'public' || request.is404 || request.method === 'OPTIONS') return done()
    const actsAs = request.headers['x-tenant']
    const asked = {
      authorization: readKeyHeader(request),
      actsAs: actsAs === undefined ? undefined : String(actsAs),
      isReading: request.method === 'GET' || request.method === 'HEAD',
    }
    const decide = () => {
      try {
        const { caller, tenant } = authenticate(asked, access, deps.keyring())
        request.setDecorator(callerDecorator, caller)
        request.setDecorator(tenantDecorator, tenant)
        done()
      } catch (error) {
        done(error as ApiError)
      }
    }
    const fresh = freshenFor(asked.authorization, deps)
    if (fresh === null) decide()
    else fresh.then(decide, done)
  }
}

type KeyDeps = { keyring(): Keyring; freshenKeys(): Promise<void> | null }

/**
 * Null: the keyring can decide about this key now. Otherwise resolves when it can. Rejects with `unavailable` where the store cannot tell
 * whether a key made by the API is still valid; a key of the configuration does not need the store.
 */
export function freshenFor(authorization: string | undefined, deps: KeyDeps): Promise<void> | null {
  const fresh = deps.freshenKeys()
  if (fresh === null) return null
  const key = readKey(authorization)
  const keyring = deps.keyring()
  if (key === undefined || keyring.open || keyring.isConfigured(key)) {
    fresh.catch(() => {}) // unused
    return null
  }
  return fresh.catch(() => {
    throw new ApiError('unavailable', 'the store that holds this key does not answer', {
      retryAfterSeconds: 1,
    })
  })
}

/** Whether this tenant's key may use a route with this access. `admin: read` may read what is for administrators. */
export function mayUse(caller: Tenant, access: Scope, isReading: boolean): boolean {
  return grants(caller.scopes, access) || (access === 'admin' && isReading && caller.readsAll === true)
}

/**
 * Returns the key's tenant, and the tenant that the request is about. Throws `unauthorized`, `forbidden`, or `not_found` where there is no
 * tenant to act as.
 */
export function authenticate(
  {
    authorization,
    actsAs,
    isReading = false,
  }: { authorization: string | undefined; actsAs: string | undefined; isReading?: boolean },
  access: Exclude<Access, 'public'>,
  keyring: Keyring,
): { caller: Tenant; tenant: Tenant } {
  const caller = findTenant(authorization, keyring)
  if (caller === null) throw new ApiError('unauthorized', 'send a valid key: Authorization: Bearer <key>')
  if (!mayUse(caller, access, isReading)) {
    const needed = access === 'admin' ? 'an admin key' : `a key with the scope "${access}"`
    throw new ApiError('forbidden', `this route needs ${needed}`)
  }
  if (actsAs === undefined || keyring.open) return { caller, tenant: caller }
  if (!caller.scopes.includes('admin') && !caller.readsAll) {
    throw new ApiError('forbidden', 'x-tenant: acting as a tenant needs an admin key', { param: 'x-tenant' })
  }
  const tenant = keyring.named(actsAs)
  if (tenant === null) throw notFound('tenant')
  return { caller, tenant: { ...underTerms(tenant, termsOf(caller)), key: caller.key } }
}

/** The value of `Authorization`. Azure's clients send their key as `api-key`, Anthropic's as `x-api-key`. */
export function readKeyHeader({ headers }: FastifyRequest): string | undefined {
  const key = headers['api-key'] ?? headers['x-api-key']
  return headers.authorization ?? (typeof key === 'string' ? `Bearer ${key}` : undefined)
}

/** The tenant of an `Authorization` header; null for an unknown key. */
export function findTenant(authorization: string | undefined, keyring: Keyring): Tenant | null {
  // An open service ignores keys, even a malformed header.
  if (keyring.open) return keyring.find('')
  const key = readKey(authorization)
  return key === undefined ? null : keyring.find(key)
}

function readKey(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
}
