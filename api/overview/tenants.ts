import type { Config } from '../../config/schema.ts'
import { resolveTenant } from '../../config/tenants.ts'
import type { TenantStats } from '../../jobs/tenant-stats.ts'

/** A tenant as operators see it. */
export type TenantView = {
  id: string
  weight: number
  counts: TenantStats['counts']
  /** Most open jobs; null: no limit. */
  max_queued: number | null
  /** Queued jobs that wait for the limits of their fair keys. */
  waiting_for_fair_keys: number
  /** Its calls are paused until then, RFC 3339; null: not paused. */
  paused_until: string | null
  paused_reason: string | null
  spent_usd: number
  reserved_usd: number
  budget_usd_per_day: number | null
  finished_per_minute: number
  /** Share of the jobs that all these tenants finished in the last minute, 0 to 1. */
  share: number
}

/** Combines the configuration of tenants with their figures. Tenants that just left the configuration are left out. */
export function describeTenants(config: Config, stats: readonly TenantStats[]): TenantView[] {
  const sum = stats.reduce((total, { finishedPerMinute }) => total + finishedPerMinute, 0)
  return stats.flatMap(({ tenant, counts, spentUsd, reservedUsd, finishedPerMinute, parked, ...paused }) => {
    const configured = resolveTenant(config, tenant)
    if (configured === null) return []
    const { weight, limits } = configured
    return [
      {
        id: tenant,
        weight,
        counts,
        max_queued: limits.max_queued,
        waiting_for_fair_keys: parked,
        paused_until: paused.pausedUntil === null ? null : new Date(paused.pausedUntil).toISOString(),
        paused_reason: paused.pausedReason,
        spent_usd: spentUsd,
        reserved_usd: reservedUsd,
        budget_usd_per_day: limits.budget_usd_per_day ?? null,
        finished_per_minute: finishedPerMinute,
        share: sum === 0 ? 0 : finishedPerMinute / sum,
      },
    ]
  })
}
