import type { Job } from '../jobs/job.ts'
import type { JobFilter, JobListOptions, JobPage, JobPlace } from '../jobs/jobs.ts'
import { hasIdTime, readIdTime } from '../lib/job-id.ts'
import { stringifyJson } from '../lib/json-source.ts'
import type { HistoryFilter, Place } from './filter.ts'
import type { Finder } from './find.ts'
import type { StoredJobs } from './stored-jobs.ts'

/** The most pages of the database that one page of the list reads. */
const MOST_PAGES = 20

/** The most bytes of results in a page, the same as in lists of Redis. */
const PAGE_RESULT_BYTES = 4 * 1024 * 1024
/** How many results are read at once. */
const RESULTS_AT_ONCE = 25

/** The most jobs that a page scans. */
const MOST_SCANNED = 10_000

type Deps = {
  finder: Finder
  stored: StoredJobs
  /** Lists the jobs in Redis. */
  list: (filter: JobFilter, limit: number, options: JobListOptions) => Promise<JobPage>
  /** When a job in Redis was created, Unix ms; null: Redis does not have the job. */
  createdAt: (id: string) => Promise<number | null>
}

/**
 * Lists jobs of both Redis and the history, newest first, with one cursor: the id of a job. It reads Redis first, so a job that moves
 * meanwhile is in that page. Of a job that is in both, the list shows the one in Redis.
 */
export async function listBoth(
  deps: Deps,
  root: string,
  filter: JobFilter,
  limit: number,
  options: JobListOptions,
): Promise<JobPage> {
  const { after, from, mostScanned = MOST_SCANNED, withResults = false, signal } = options
  const place = from ?? (after === undefined ? null : await findPlace(deps, root, after))
  if (place === 'unknown') return { data: [], hasMore: false, cursor: null, scanned: null, end: null }
  const hot = await deps.list(filter, limit, options)
  const hotJobs = hot.data.map((job) => ({ job, place: placeOf(job) }))
  const hotEnd = hot.hasMore ? hot.end : null
  const cold = await readCold(deps, root, toHistoryFilter(filter), place, {
    ...{ hot: hotJobs, hotEnd, limit, mostScanned, signal },
  })
  const ids = cold.places.map(({ id }) => id)
  const jobs = withResults ? await withSmallResults(deps, root, ids) : await deps.stored.summaries(root, ids)
  const coldJobs = cold.places.flatMap((at) => {
    const job = jobs.get(at.id)
    return job ? [{ job, place: at }] : []
  })
  const ends = [hotEnd, cold.end].filter((end) => end !== null)
  // Behind the earlier of the two ends the list is incomplete.
  const end = ends.sort(compare)[0] ?? null
  const merged = [...hotJobs, ...coldJobs]
    .filter(({ place: at }) => end === null || compare(at, end) <= 0)
    .sort((a, b) => compare(a.place, b.place))
  const data = merged.slice(0, limit).map(({ job }) => job)
  const lastShown = merged[data.length - 1]?.place ?? null
  if (merged.length > limit) {
    return { data, hasMore: true, cursor: lastShown!.id, scanned: null, end: lastShown }
  }
  const isFull = data.length === limit
  const stopped: JobPlace | null = end ?? lastShown
  return {
    data,
    hasMore: end !== null,
    cursor: stopped?.id ?? null,
    end: stopped,
    scanned: end !== null && !isFull ? Math.max(hot.scanned ?? 0, cold.scanned) : null,
  }
}

/** Negative if `a` comes before `b`, because it is newer. */
function compare(a: Place, b: Place): number {
  return b.createdAt - a.createdAt || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)
}

function placeOf({ id, created_at }: Job): Place {
  return { createdAt: Date.parse(created_at), id }
}

async function findPlace(deps: Deps, root: string, id: string): Promise<Place | 'unknown'> {
  const hot = await deps.createdAt(id)
  if (hot !== null) return { createdAt: hot, id }
  const [row] = await deps.stored.ask(() => deps.finder.rows(root, [id]))
  if (row) return { createdAt: row.created_at, id }
  return hasIdTime(id) ? { createdAt: readIdTime(id), id } : 'unknown'
}

/** Reads jobs that only the database has, up to the end of the page of Redis or until there are enough. */
async function readCold(
  { finder, stored }: Deps,
  root: string,
  filter: HistoryFilter,
  after: Place | null,
  asked: {
    hot: readonly { place: Place }[]
    hotEnd: Place | null
    limit: number
    mostScanned: number
    signal: AbortSignal | undefined
  },
): Promise<{ places: Place[]; end: Place | null; scanned: number }> {
  const { hot, hotEnd, limit, mostScanned, signal } = asked
  const found: Place[] = []
  let from = after
  let scanned = 0
  for (let pages = 0; pages < MOST_PAGES && !signal?.aborted; pages++) {
    const page = await stored.ask(() => finder.page(root, filter, 'desc', from, limit + 1, mostScanned))
    const only = await stored.onlyHere(
      root,
      page.places.map(({ id }) => id),
    )
    found.push(...page.places.filter(({ id }) => only.has(id)))
    const last = page.end ?? (page.places.length > limit ? page.places.at(-1)! : null)
    scanned += page.end === null ? page.places.length : page.scanned
    if (last === null) return { places: found, end: null, scanned }
    from = last
    const isBehindHot = hotEnd !== null && compare(last, hotEnd) >= 0
    const upToHere = hot.filter(({ place }) => compare(place, last) <= 0).length + found.length
    if (isBehindHot || upToHere > limit || page.end !== null) break
  }
  return { places: found, end: from, scanned }
}

function toHistoryFilter(filter: JobFilter): HistoryFilter {
  const { status, type, group, lane, schedule, model, errorCode, metadata } = filter
  const { createdAfter, createdBefore, minCostUsd } = filter
  return {
    ...{ status, type, group, lane, schedule, model, errorCode, metadata },
    ...{ createdAfter, createdBefore, minCostUsd },
  }
}

/** Reads jobs with their results, in order, until the results exceed the bound; the other jobs come without them. */
async function withSmallResults(
  { stored }: Deps,
  root: string,
  ids: readonly string[],
): Promise<Map<string, Job>> {
  const jobs = new Map<string, Job>()
  let left = PAGE_RESULT_BYTES
  for (let at = 0; at < ids.length; at += RESULTS_AT_ONCE) {
    const some = ids.slice(at, at + RESULTS_AT_ONCE)
    const [bare, whole] = await Promise.all([
      stored.summaries(root, some),
      left > 0 ? stored.jobs(root, some) : new Map<string, Job>(),
    ])
    for (const id of some) {
      const summary = bare.get(id)
      if (!summary) continue
      const job = whole.get(id)
      const bytes = job?.result ? Buffer.byteLength(stringifyJson(job.result)) : 0
      if (job && bytes <= left) {
        left -= bytes
        jobs.set(id, job)
      } else jobs.set(id, summary)
    }
  }
  return jobs
}
