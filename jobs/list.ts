import { hasIdTime } from '../lib/job-id.ts'
import { findLostPlace } from '../lib/list-place.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { Job } from './job.ts'
import type { JobFilter, Page } from './jobs.ts'
import { groupKey } from './keys.ts'
import type { Reader } from './read.ts'
import { type JobRecord, textOf } from './record.ts'

/** Records read in one round trip. */
const CHUNK = 200

/**
 * Lists a tenant's jobs, newest first. Walks the narrowest index that the filter names (a group's, else a status's,
 * else all) and checks the other members on the records. Within a millisecond the order is that of the ids.
 */
export async function listJobs(
  deps: { redis: RedisClient; reader: Reader },
  root: string,
  filter: JobFilter,
  limit: number,
  after?: string,
): Promise<Page<Job>> {
  const { redis, reader } = deps
  const index = filter.group
    ? `${groupKey(root, filter.group)}:jobs`
    : filter.status
      ? `${root}:status:${filter.status}`
      : `${root}:jobs`

  let offset = 0
  let from = '+inf'
  if (after !== undefined) {
    const score = await redis.hget(`${root}:job:${after}`, 'created_at')
    if (score === null && !hasIdTime(after)) return { data: [], hasMore: false }
    // Forgotten since: the list goes on from where it stood.
    from = score ?? (await findLostPlace(redis, index, after)) ?? '+inf'
  }
  const found: { id: string; record: JobRecord }[] = []
  // Of the jobs of the cursor's own millisecond, those with an id at or above the cursor's came before it.
  const isAfter = (id: string, created: string) => after === undefined || created !== from || id < after

  for (;;) {
    const page = await redis.zrevrangebyscore(index, from, '-inf', 'WITHSCORES', 'LIMIT', offset, CHUNK)
    offset += page.length / 2
    const ids = page.filter((id, at) => at % 2 === 0 && isAfter(id, page[at + 1]!))
    const records = await reader.records(root, ids)
    for (const [at, id] of ids.entries()) {
      const record = records[at]
      if (!record) continue
      if (filter.status && textOf(record, 'status') !== filter.status) continue
      if (filter.type && textOf(record, 'type') !== filter.type) continue
      if (filter.lane && textOf(record, 'lane') !== filter.lane) continue
      if (found.length === limit) return { data: await reader.jobs(root, found), hasMore: true }
      found.push({ id, record })
    }
    if (page.length < CHUNK * 2) return { data: await reader.jobs(root, found), hasMore: false }
  }
}
