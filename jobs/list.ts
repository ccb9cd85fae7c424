import { hasIdTime } from '../lib/job-id.ts'
import { findLostPlace } from '../lib/list-place.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type IndexEntry, walkIndex } from '../lib/walk-index.ts'
import type { Job } from './job.ts'
import type { JobFilter, JobListOptions, JobPage, JobPlace } from './jobs.ts'
import { groupKey, scheduleJobsKey } from './keys.ts'
import type { Reader } from './read.ts'
import { bringResults, type Summary } from './results.ts'
import type { Scripts } from './scripts.ts'
import { isSearch, searchJobs } from './search.ts'

/** Most jobs that one page looks at. */
const MOST_SCANNED = 10_000

/** Jobs looked at in one script call, about half a millisecond of Redis. */
const BLOCK = 500

/** Most bytes of results a page, both as they are stored and as JSON. */
const PAGE_RESULT_BYTES = 4 * 1024 * 1024

const NOTHING: JobPage = { data: [], hasMore: false, cursor: null, scanned: null, end: null }

type Deps = { redis: RedisClient; scripts: Scripts; reader: Reader }
type Found = { ids: string[] } & Omit<JobPage, 'data'>

/**
 * Lists a tenant's jobs, newest first, and without results unless they are asked for. It walks the shortest index that
 * the filter names, and checks the other members on the records, up to `MOST_SCANNED` of them. Jobs of the same
 * millisecond are ordered by their ids.
 */
export async function listJobs(
  deps: Deps,
  root: string,
  filter: JobFilter,
  limit: number,
  { after, from, mostScanned = MOST_SCANNED, withResults = false, signal }: JobListOptions,
): Promise<JobPage> {
  const { redis, reader } = deps
  if (isSearch(filter)) {
    const some = await searchJobs(
      (indexed, most, options) => listJobs(deps, root, indexed, most, options),
      filter,
      limit,
      { after, from, mostScanned, ...(signal && { signal }) },
    )
    if (!withResults || signal?.aborted) return some
    return {
      ...some,
      data: await withResultsOf(
        deps,
        root,
        await reader.summaries(
          root,
          some.data.map(({ id }) => id),
        ),
      ),
    }
  }
  const index = await chooseIndex(redis, root, filter)
  const place = from
    ? { id: from.id, score: String(from.createdAt) }
    : after === undefined
      ? null
      : await findPlace(redis, root, index, after)
  if (place === 'unknown') return NOTHING
  const { ids, ...page } = await findJobs(deps, root, index, filter, { limit, place, mostScanned, signal })
  const summaries = await reader.summaries(root, ids)
  if (!withResults || signal?.aborted) return { ...page, data: summaries.map(({ job }) => job) }
  return { ...page, data: await withResultsOf(deps, root, summaries) }
}

function withResultsOf({ redis, reader }: Deps, root: string, summaries: readonly Summary[]): Promise<Job[]> {
  const bounds = { eachBytes: PAGE_RESULT_BYTES, allBytes: PAGE_RESULT_BYTES }
  return bringResults({ redis, answers: reader.answers, view: reader.view(root) }, summaries, bounds)
}

/** Every index is ordered by creation, so a cursor of one is valid for another. */
async function chooseIndex(redis: RedisClient, root: string, filter: JobFilter): Promise<string> {
  // Only this index knows which jobs a schedule made.
  if (filter.schedule) return scheduleJobsKey(root, filter.schedule)
  const byGroup = filter.group ? `${groupKey(root, filter.group)}:jobs` : null
  const byStatus = filter.status ? `${root}:status:${filter.status}` : null
  if (byGroup === null || byStatus === null) return byGroup ?? byStatus ?? `${root}:jobs`
  const [inGroup, inStatus] = await Promise.all([redis.zcard(byGroup), redis.zcard(byStatus)])
  return inStatus < inGroup ? byStatus : byGroup
}

async function findPlace(
  redis: RedisClient,
  root: string,
  index: string,
  id: string,
): Promise<IndexEntry | 'unknown'> {
  const score = await redis.hget(`${root}:job:${id}`, 'created_at')
  if (score === null && !hasIdTime(id)) return 'unknown'
  // The job was deleted meanwhile. The list continues where the job was.
  return { id, score: score ?? (await findLostPlace(redis, index, id)) ?? '+inf' }
}

/** If the client is gone, it returns what was found so far. */
async function findJobs(
  { redis, scripts }: Deps,
  root: string,
  index: string,
  filter: JobFilter,
  {
    limit,
    place,
    mostScanned,
    signal,
  }: { limit: number; place: IndexEntry | null; mostScanned: number; signal?: AbortSignal | undefined },
): Promise<Found> {
  const { status = '', type = '', lane = '', group = '' } = filter
  const block = Math.min(mostScanned, status || type || lane || group ? BLOCK : Math.min(BLOCK, limit + 1))
  const found: IndexEntry[] = []
  let scanned = 0
  let last: IndexEntry | null = null
  const finish = (hasMore: boolean, end: IndexEntry | null, looked: number | null): Found => ({
    ids: found.map(({ id }) => id),
    hasMore,
    cursor: end?.id ?? null,
    scanned: looked,
    end: end && toPlace(end),
  })
  for await (const entries of walkIndex(redis, index, { order: 'desc', after: place, block })) {
    const some = entries.slice(0, mostScanned - scanned)
    // The client is gone, so the block that was just read is dropped.
    if (signal?.aborted || some.length === 0) return finish(true, last, scanned)
    const asked = [status, type, lane, group, ...some.map(({ id }) => id)]
    const chosen = (await scripts.run('select', root, asked)) as number[]
    for (const at of chosen) {
      if (found.length === limit) return finish(true, found.at(-1)!, null)
      found.push(some[at]!)
    }
    scanned += some.length
    last = some.at(-1)!
    if (some.length < entries.length) return finish(true, last, scanned)
  }
  return finish(false, found.at(-1) ?? null, null)
}

function toPlace({ id, score }: IndexEntry): JobPlace {
  return { createdAt: Number(score), id }
}
