import type { RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'

/** Refuses changes of a tenant in the configuration file, and any change while no tenant is configured. */
export function refuseFileTenant({ deps }: RouteContext, name: string): void {
  if (deps.tenants.keyring().open) {
    throw new ApiError(
      'no_tenants',
      'no tenants are configured, so no keys are needed: configure one with admin: true first',
    )
  }
  if (!Object.hasOwn(deps.tenants.configured().tenants, name)) return
  throw new ApiError(
    'read_only',
    `name: the tenant ${name} is defined in the configuration; change it there`,
    {
      param: 'name',
    },
  )
}

export function refuseOutcome(kind: 'none' | 'exists' | 'full' | 'busy', what: 'tenant' | 'key'): ApiError {
  if (kind === 'none') return notFound(what)
  if (kind === 'exists')
    return new ApiError('tenant_exists', 'name: a tenant with this name already exists', { param: 'name' })
  if (kind === 'busy')
    return new ApiError('unavailable', 'another request is changing this at the moment; try again')
  return what === 'tenant'
    ? new ApiError('too_many_tenants', 'the API has already created as many tenants as it may; delete one')
    : new ApiError('too_many_keys', 'the tenant already has as many keys as it may have; revoke one')
}
