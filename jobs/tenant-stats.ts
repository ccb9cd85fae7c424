import type { RedisClient } from '../lib/redis.ts'
import { JobStatus } from './job.ts'
import { tenantRoot } from './keys.ts'
import { isoTime } from './record.ts'
import type { Scripts } from './scripts.ts'

/** The time over which a tenant's pace is measured, ms. */
const PACE_MS = 60_000

/** A tenant's present statistics. */
export type TenantStats = {
  tenant: string
  counts: Record<JobStatus, number>
  /** USD: what was spent on this UTC day, and what is reserved for open jobs. */
  spentUsd: number
  reservedUsd: number
  /** Jobs that ended in the last minute, in any way, without those that were deleted or retried since. */
  finishedPerMinute: number
  /** Queued jobs that wait for the limits of their fair keys. */
  parked: number
  /** An operator holds its calls back until then, Unix ms; null: they are not held back. */
  pausedUntil: number | null
  pausedReason: string | null
}

export type RecentGroup = { tenant: string; group: string; updatedAt: string }

/** What operators see of many tenants at once. */
export type TenantStatsReader = {
  /** The statistics in the order of the names. One script call for each tenant. */
  read(tenants: readonly string[]): Promise<TenantStats[]>
  /** The groups of all these tenants that changed last, newest first. One command for each tenant. */
  recentGroups(tenants: readonly string[], limit: number): Promise<RecentGroup[]>
}

export function createTenantStatsReader(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'runAll'>
  prefix: string
  retainMs: () => number
}): TenantStatsReader {
  const { redis, scripts, prefix } = deps

  return {
    async read(tenants) {
      const retainMs = deps.retainMs()
      // If jobs are kept for less than a minute, the pace is measured over that time.
      const paceMs = Math.min(PACE_MS, retainMs)
      const calls = tenants.map((tenant) => ({ root: tenantRoot(prefix, tenant), args: [retainMs, paceMs] }))
      const answers = await scripts.runAll('tenant-stats', calls)
      return answers.map((answer, index) => {
        const texts = (answer as (Buffer | number)[]).map((figure) => figure.toString())
        const figures = texts.map(Number)
        const statuses = Object.values(JobStatus).map((status, at) => [status, figures[at]!])
        return {
          tenant: tenants[index]!,
          counts: Object.fromEntries(statuses) as Record<JobStatus, number>,
          spentUsd: figures[6]!,
          // Sums of fractions may end slightly below 0.
          reservedUsd: Math.max(0, figures[7]!),
          finishedPerMinute: (figures[8]! * PACE_MS) / paceMs,
          parked: figures[9]!,
          pausedUntil: figures[10]! || null,
          pausedReason: texts[11] || null,
        }
      })
    },

    async recentGroups(tenants, limit) {
      const found = await Promise.all(
        tenants.map(async (tenant) => {
          const named = await redis.zrevrange(
            `${tenantRoot(prefix, tenant)}:groups`,
            0,
            limit - 1,
            'WITHSCORES',
          )
          return named.flatMap((group, at) =>
            at % 2 === 0 ? [{ tenant, group, updatedAt: isoTime(Number(named[at + 1])) }] : [],
          )
        }),
      )
      return found
        .flat()
        .sort((one, other) => (one.updatedAt < other.updatedAt ? 1 : -1))
        .slice(0, limit)
    },
  }
}
