import { type HistorySource, toDoneBlock } from '../jobs/history-source.ts'
import { type GroupEntry, type GroupSummary, JobStatus } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { groupKey } from '../jobs/keys.ts'
import { isoTime } from '../jobs/record.ts'
import { showCostSum } from '../lib/cost-sum.ts'
import type { RedisClient } from '../lib/redis.ts'
import { isHistoryUnavailable } from './errors.ts'
import type { Finder } from './find.ts'
import type { StoredJobs } from './stored-jobs.ts'

type Figures = Pick<GroupSummary, 'total' | 'counts' | 'cost_usd' | 'unpriced_calls'>

/**
 * Groups whose jobs are in Redis, in the history, or in both. jobs/lua/history-mark.lua explains how each job counts once. While the
 * database is away, a group shows only what Redis has.
 */
export function createGroupsOfBoth(deps: {
  jobs: Jobs
  redis: RedisClient
  source: HistorySource
  finder: Finder
  stored: StoredJobs
  rootOf: (tenant: string) => string
  /** Unix ms, by Redis' clock. */
  now: () => number
}): Pick<Jobs, 'group' | 'groups' | 'followGroup'> {
  const { jobs, redis, finder, stored, rootOf } = deps

  /** Reads a group's counts in Redis, and the newest block marked. Both in one transaction, because both change in one step. */
  async function readHot(root: string, group: string) {
    const answers = await redis
      .multi()
      .hgetall(groupKey(root, group))
      .hget(`${root}:history:blocks`, 'done')
      .exec()
    const fields = (answers?.[0]?.[1] ?? {}) as Record<string, string>
    return { fields, block: toDoneBlock(answers?.[1]?.[1] as string | null, deps.now()) }
  }

  async function figuresOf(root: string, group: string): Promise<Figures | null> {
    const { fields, block } = await readHot(root, group)
    const isHot = Object.keys(fields).length > 0
    let cold: Awaited<ReturnType<Finder['groupCounts']>> | null = null
    try {
      cold = await stored.ask(() => finder.groupCounts(root, group, block))
    } catch (error) {
      if (!isHot || !isHistoryUnavailable(error)) throw error
    }
    if (!isHot && cold?.size === 0) return null
    const counts = Object.fromEntries(
      Object.values(JobStatus).map((status) => {
        const hot = Number(fields[status] ?? 0)
        return [
          status,
          cold === null
            ? hot
            : hot - Number(fields[`copied:${status}`] ?? 0) + (cold.get(status)?.count ?? 0),
        ]
      }),
    ) as Record<JobStatus, number>
    const hotNano = Number(fields.cost_nano ?? 0) + Math.round(Number(fields.cost_usd ?? 0) * 1e9)
    const coldNano = cold === null ? 0 : [...cold.values()].reduce((sum, { costNano }) => sum + costNano, 0)
    const coldUnpriced =
      cold === null ? 0 : [...cold.values()].reduce((sum, one) => sum + one.unpricedCalls, 0)
    const nano = cold === null ? hotNano : hotNano - Number(fields.copied_nano ?? 0) + coldNano
    const hotUnpriced = Number(fields.unpriced_calls ?? 0)
    // A process of the previous release counts its copies but not their calls without a price. Then this is the least that is sure.
    const isPartial = fields.copied_unpriced === undefined && hasHadCopies(fields)
    const unpriced = isPartial
      ? Math.max(hotUnpriced, coldUnpriced)
      : hotUnpriced + (cold === null ? 0 : coldUnpriced - Number(fields.copied_unpriced ?? 0))
    return {
      total: Object.values(counts).reduce((sum, count) => sum + count, 0),
      counts,
      ...showCostSum(nano, unpriced),
    }
  }

  return {
    async group(tenant, group) {
      const figures = await figuresOf(rootOf(tenant), group)
      if (figures === null) return null
      const hot =
        figures.counts.queued + figures.counts.scheduled > 0 ? await jobs.group(tenant, group) : null
      return { group, ...figures, estimated_finish_at: hot?.estimated_finish_at ?? null }
    },

    async groups(tenant, limit, after) {
      const root = rootOf(tenant)
      const hot = await jobs.groups(tenant, limit, after)
      const cold = await stored.ask(() => finder.groups(root, limit + 1, after ?? null))
      const places = new Map(hot.data.map(({ group, updated_at }) => [group, Date.parse(updated_at)]))
      const scores = await Promise.all(cold.map(({ group }) => redis.zscore(`${root}:groups`, group)))
      // If Redis has the group, its time of the last change is the right one.
      for (const [at, one] of cold.entries()) if (scores[at] === null) places.set(one.group, one.at)
      const sorted = [...places].sort(([a, atA], [b, atB]) => atB - atA || (a < b ? 1 : -1))
      const found = await Promise.all(
        sorted.slice(0, limit).map(async ([group, at]): Promise<GroupEntry[]> => {
          const figures = await figuresOf(root, group)
          return figures === null ? [] : [{ group, ...figures, updated_at: isoTime(at) }]
        }),
      )
      return { data: found.flat(), hasMore: hot.hasMore || sorted.length > limit || cold.length > limit }
    },

    async followGroup(tenant, group, cursor, signal) {
      const hot = await jobs.followGroup(tenant, group, cursor, signal)
      if (hot !== null) return hot
      const figures = await figuresOf(rootOf(tenant), group)
      // All jobs of the group have ended and left Redis.
      return figures === null ? null : { finished: true, events: none() }
    },
  }
}

/** True if jobs of the group were ever copied: their field stays, at 0, after the jobs leave Redis. */
function hasHadCopies(fields: Record<string, string>): boolean {
  return Object.keys(fields).some((name) => name.startsWith('copied:'))
}

async function* none() {}
