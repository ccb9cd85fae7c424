import type { RedisClient } from '../lib/redis.ts'
import { flatten } from './follow.ts'
import type { Job } from './job.ts'
import type { JobFilter, Page } from './jobs.ts'
import { type ResultRenderer, textOf, toJob, toRecord } from './record.ts'

/** Records read in one round trip. */
const CHUNK = 200

/**
 * Lists a tenant's jobs, newest first. Walks the narrowest index that the filter names (a group's, else a status's,
 * else all) and checks the other members on the records. Within a millisecond the order is that of the ids.
 */
export async function listJobs(
  deps: { redis: RedisClient; render: ResultRenderer },
  root: string,
  filter: JobFilter,
  limit: number,
  after?: string,
): Promise<Page<Job>> {
  const { redis, render } = deps
  const index = filter.group
    ? `${root}:group:${filter.group}:jobs`
    : filter.status
      ? `${root}:status:${filter.status}`
      : `${root}:jobs`

  let offset = 0
  let from = '+inf'
  if (after !== undefined) {
    const score = await redis.hget(`${root}:job:${after}`, 'created_at')
    if (score === null) return { data: [], hasMore: false }
    from = score
  }
  const data: Job[] = []
  // Of the jobs of the cursor's own millisecond, those with an id at or above the cursor's came before it.
  const isAfter = (id: string, created: string) => after === undefined || created !== from || id < after

  for (;;) {
    const page = await redis.zrevrangebyscore(index, from, '-inf', 'WITHSCORES', 'LIMIT', offset, CHUNK)
    offset += page.length / 2
    const ids = page.filter((id, at) => at % 2 === 0 && isAfter(id, page[at + 1]!))
    const pipeline = redis.pipeline()
    for (const id of ids) pipeline.hgetallBuffer(`${root}:job:${id}`)
    const answers = (await pipeline.exec()) ?? []
    for (const [at, id] of ids.entries()) {
      const record = toRecord(flatten((answers[at]?.[1] ?? {}) as Record<string, Buffer>))
      if (!record) continue
      if (filter.status && textOf(record, 'status') !== filter.status) continue
      if (filter.type && textOf(record, 'type') !== filter.type) continue
      if (filter.lane && textOf(record, 'lane') !== filter.lane) continue
      if (data.length === limit) return { data, hasMore: true }
      data.push(toJob(id, record, render))
    }
    if (page.length < CHUNK * 2) return { data, hasMore: false }
  }
}
