import type { RouteContext } from '../deps.ts'
import { ApiError, notFound } from '../errors.ts'

/** Refuses to change a tenant of the file, or anything where no tenant is configured. */
export function refuseFileTenant({ deps }: RouteContext, name: string): void {
  if (deps.keyring().open) {
    throw new ApiError(
      'no_tenants',
      'no tenants are configured, so no keys are asked for: name one with admin: true in the configuration first',
    )
  }
  if (!Object.hasOwn(deps.configured().tenants, name)) return
  throw new ApiError('read_only', `name: the tenant ${name} is of the configuration, and is changed there`, {
    param: 'name',
  })
}

export function refuseOutcome(kind: 'none' | 'exists' | 'full' | 'busy', what: 'tenant' | 'key'): ApiError {
  if (kind === 'none') return notFound(what)
  if (kind === 'exists')
    return new ApiError('tenant_exists', 'name: there is a tenant of this name already', { param: 'name' })
  if (kind === 'busy')
    return new ApiError('unavailable', 'others change this as well at the moment; try again')
  return what === 'tenant'
    ? new ApiError('too_many_tenants', 'there are as many tenants as the API may make; delete one')
    : new ApiError('too_many_keys', 'the tenant has as many keys as it may have; revoke one')
}
