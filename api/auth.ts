import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { termsOf, underTerms } from '../config/key-terms.ts'
import { grants, type Scope } from '../config/scopes.ts'
import type { Keyring, Tenant } from '../config/tenants.ts'
import type { Actor } from '../tenants/registry.ts'
import { ApiError, notFound } from './errors.ts'

/** Who may use a route: everybody, or a key of a scope. Each route says it; one that does not is for administrators. */
export type Access = 'public' | Scope

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
    /** Query parameters that begin so are not told apart by the schema. */
    queryPrefix?: string
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

/** Who asks, and from where, for the audit list. */
export function actorOf(request: FastifyRequest): Actor {
  const { name, key } = callerOf(request)
  return { tenant: name, key, ip: request.ip, requestId: request.id }
}

/** Whose key was sent, and as whom it acts; null where a tenant speaks for itself, and on public routes. */
export function readActing(request: FastifyRequest): { admin: string; tenant: string } | null {
  const caller = request.getDecorator<Tenant | null>(callerDecorator)
  const tenant = request.getDecorator<Tenant | null>(tenantDecorator)
  if (caller === null || tenant === null || caller.name === tenant.name) return null
  return { admin: caller.name, tenant: tenant.name }
}

/** Whether lists that are otherwise of one tenant are of all: for an administrator, and who reads all, unless it acts as a tenant. */
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
 * Finds the tenant of a request by its bearer key and refuses what the key may not do. With an admin key `x-tenant` names
 * another tenant to act as.
 */
export function createAuthHook(deps: KeyDeps): onRequestHookHandler {
  return (request, _reply, done) => {
    const access = request.routeOptions.config.access ?? 'admin'
    // An unknown path is answered 404 with and without a key; a browser asks what a page may do without one.
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
 * Null: the keyring can tell what this key may do. Else resolves when it can. Rejects with `unavailable` where the store does not tell
 * whether a key of the API is still valid; a key of the configuration does not need it.
 */
export function freshenFor(authorization: string | undefined, deps: KeyDeps): Promise<void> | null {
  const fresh = deps.freshenKeys()
  if (fresh === null) return null
  const key = readKey(authorization)
  const keyring = deps.keyring()
  if (key === undefined || keyring.open || keyring.isConfigured(key)) {
    fresh.catch(() => {}) // nobody waits for it
    return null
  }
  return fresh.catch(() => {
    throw new ApiError('unavailable', 'the store that holds this key does not answer', {
      retryAfterSeconds: 1,
    })
  })
}

/** Whether this tenant's key may use a route of this access. Who reads all may read what is for administrators. */
export function mayUse(caller: Tenant, access: Scope, isReading: boolean): boolean {
  return grants(caller.scopes, access) || (access === 'admin' && isReading && caller.readsAll === true)
}

/**
 * Whose key it is, and the tenant that what is asked for is about. Throws `unauthorized`, `forbidden`, or `not_found` where there
 * is no tenant to act as.
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

/** What `Authorization` says, or would say: Azure's clients send their key as `api-key`, Anthropic's as `x-api-key`. */
export function readKeyHeader({ headers }: FastifyRequest): string | undefined {
  const key = headers['api-key'] ?? headers['x-api-key']
  return headers.authorization ?? (typeof key === 'string' ? `Bearer ${key}` : undefined)
}

/** The tenant of an `Authorization` header; null where it names none. */
export function findTenant(authorization: string | undefined, keyring: Keyring): Tenant | null {
  // An open service ignores keys, a malformed header included.
  if (keyring.open) return keyring.find('')
  const key = readKey(authorization)
  return key === undefined ? null : keyring.find(key)
}

function readKey(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
}
