import { showCostSum } from '../lib/cost-sum.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type GroupEntry, type GroupPlace, type GroupSummary, JobStatus } from './job.ts'
import type { Page } from './jobs.ts'
import { groupKey } from './keys.ts'
import type { Reader } from './read.ts'
import { isoTime } from './record.ts'

/** How many of a group's newest jobs are asked for its end. */
const TAIL = 50

export type Groups = {
  one(tenant: string, group: string): Promise<GroupSummary | null>
  /** By their last change, newest first; only those that come after `after` in this order. */
  list(tenant: string, limit: number, after?: GroupPlace): Promise<Page<GroupEntry>>
}

/** Reads groups. `…:groups` lists those of a tenant by their last change; the scripts maintain it. */
export function createGroups(deps: {
  redis: RedisClient
  reader: Pick<Reader, 'summaries'>
  rootOf: (tenant: string) => string
}): Groups {
  const { redis, reader, rootOf } = deps

  /**
   * When the last waiting job of a group starts. Within a lane and a tenant the newest jobs start last, so it is enough
   * to look at these. Null if none of them waits, or nothing is known about their lanes.
   */
  async function finishOf(
    root: string,
    group: string,
    counts: GroupSummary['counts'],
  ): Promise<string | null> {
    if (counts.queued + counts.scheduled === 0) return null
    const newest = await redis.zrange(`${groupKey(root, group)}:jobs`, '0', String(TAIL - 1), 'REV')
    const summaries = await reader.summaries(root, newest)
    const starts = summaries.flatMap(({ job }) => job.estimated_start_at ?? [])
    return starts.sort().at(-1) ?? null
  }

  /** Groups that changed in the same millisecond come in descending order of their names. */
  async function readPlaces(key: string, most: number, after?: GroupPlace): Promise<GroupPlace[]> {
    const equals = after === undefined ? 0 : await redis.zcount(key, after.at, after.at)
    const found = await redis.zrevrangebyscore(
      ...[key, after?.at ?? '+inf', '-inf'],
      ...(['WITHSCORES', 'LIMIT', 0, most + equals] as const),
    )
    return found
      .flatMap((group, at) => (at % 2 === 0 ? [{ group, at: Number(found[at + 1]) }] : []))
      .filter(({ group, at }) => after === undefined || at < after.at || group < after.group)
      .slice(0, most)
  }

  return {
    async one(tenant, group) {
      const root = rootOf(tenant)
      const figures = toFigures(await redis.hgetall(groupKey(root, group)))
      if (figures === null) return null
      return { group, ...figures, estimated_finish_at: await finishOf(root, group, figures.counts) }
    },

    async list(tenant, limit, after) {
      const root = rootOf(tenant)
      const page = await readPlaces(`${root}:groups`, limit + 1, after)
      const found = await Promise.all(
        page.slice(0, limit).map(async ({ group, at }) => {
          // Null: the last job of the group was deleted just now.
          const figures = toFigures(await redis.hgetall(groupKey(root, group)))
          return figures === null ? [] : [{ group, ...figures, updated_at: isoTime(at) }]
        }),
      )
      return { data: found.flat(), hasMore: page.length > limit }
    },
  }
}

function toFigures(
  fields: Record<string, string>,
): Omit<GroupSummary, 'group' | 'estimated_finish_at'> | null {
  if (Object.keys(fields).length === 0) return null
  const counts = Object.fromEntries(
    Object.values(JobStatus).map((status) => [status, Number(fields[status] ?? 0)]),
  ) as Record<JobStatus, number>
  // Earlier releases counted in dollars.
  const nano = Number(fields.cost_nano ?? 0) + Math.round(Number(fields.cost_usd ?? 0) * 1e9)
  const unpriced = Number(fields.unpriced_calls ?? 0)
  return { total: Number(fields.total ?? 0), counts, ...showCostSum(nano, unpriced) }
}
