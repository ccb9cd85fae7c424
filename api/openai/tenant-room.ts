import type { Tenant } from '../../config/tenants.ts'
import type { ApiDeps, ApiStore, TenantAccess } from '../deps.ts'
import { ApiError } from '../errors.ts'

/** Longest `Retry-After`, s: pauses and budgets may change before. */
const LONGEST_RETRY_S = 600

/**
 * Applies the limits of a tenant to a request that is not a job. It counts towards the tenant's requests per minute. Throws `rate_limited`
 * while the tenant is paused or too fast, and `budget_exhausted` while a budget of the tenant or its key is used up.
 */
export async function requireTenantRoom(
  { name, limits, payers = [] }: Tenant,
  deps: { tenants: Pick<TenantAccess, 'stats' | 'budgets'>; store: Pick<ApiStore, 'jobs'> } & Pick<
    ApiDeps,
    'now'
  >,
): Promise<void> {
  const [stats, budgets] = await Promise.all([
    deps.tenants.stats.read([name]),
    Promise.all([
      deps.tenants.budgets.read(name, 'tenant', null, limits.budgets ?? []),
      ...payers.map(({ key, budgets }) => deps.tenants.budgets.read(name, 'key', key, budgets)),
    ]),
  ])
  const { pausedUntil, spentUsd, reservedUsd } = stats[0]!
  const secondsUntil = (time: number) => Math.min(LONGEST_RETRY_S, Math.max(1, (time - deps.now()) / 1000))
  if (pausedUntil !== null) {
    throw new ApiError('rate_limited', 'the operator has paused the calls of this tenant', {
      retryAfterSeconds: secondsUntil(pausedUntil),
    })
  }
  const daily = limits.budget_usd_per_day
  if (daily !== undefined && spentUsd + reservedUsd >= daily) {
    throw new ApiError('budget_exhausted', `the budget of the tenant, ${daily} USD a day (UTC), has no room`)
  }
  for (const { owner, usd, per, time_zone, window_end, spent_usd, reserved_usd } of budgets.flat()) {
    if (spent_usd + reserved_usd < usd) continue
    const window = per === 'total' ? 'in all' : `a ${per} (${time_zone})`
    throw new ApiError('budget_exhausted', `the budget of the ${owner}, ${usd} USD ${window}, has no room`, {
      retryAfterSeconds: window_end === null ? null : secondsUntil(Date.parse(window_end)),
    })
  }
  if (limits.requests_per_minute === undefined) return
  const waitMs = await deps.store.jobs.takeSubmission(name, limits.requests_per_minute)
  if (waitMs > 0) {
    throw new ApiError('rate_limited', 'the tenant submits faster than limits.requests_per_minute allows', {
      retryAfterSeconds: waitMs / 1000,
    })
  }
}
