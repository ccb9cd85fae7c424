import type { RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'

/** Refuses to change a tenant of the file, or anything where no tenant is configured. */
export function refuseFileTenant({ deps }: RouteContext, name: string): void {
  if (deps.tenants.keyring().open) {
    throw new ApiError(
      'no_tenants',
      'no tenants are configured, so no keys are asked for: name one with admin: true in the configuration first',
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
    return new ApiError('unavailable', 'somebody else is changing this at the moment; try again')
  return what === 'tenant'
    ? new ApiError('too_many_tenants', 'the API has already created as many tenants as it may; delete one')
    : new ApiError('too_many_keys', 'the tenant already has as many keys as it may have; revoke one')
}
