import type { Job } from './job.ts'
import type { JobFilter, JobListOptions, JobPage, JobPlace } from './jobs.ts'
import { isoTime } from './record.ts'

/** Most jobs that one page looks at. */
const MOST_SCANNED = 10_000

/** Jobs read at once. */
const BLOCK = 500

/** Members of a filter for which Redis has no index: each job has to be looked at. */
const SEARCHED = ['model', 'errorCode', 'metadata', 'createdAfter', 'createdBefore', 'minCostUsd'] as const

/** Whether the filter has members for which Redis has no index. */
export function isSearch(filter: JobFilter): boolean {
  return SEARCHED.some((name) => filter[name] !== undefined)
}

/** The members of the filter that indexes know. */
function withoutSearch(filter: JobFilter): JobFilter {
  const { model, errorCode, metadata, createdAfter, createdBefore, minCostUsd, ...rest } = filter
  return rest
}

function matchesSearch(job: Job, filter: JobFilter): boolean {
  const { model, errorCode, metadata = {}, createdAfter, createdBefore, minCostUsd } = filter
  if (model !== undefined && job.model !== model) return false
  if (errorCode !== undefined && job.error?.code !== errorCode) return false
  if (createdAfter !== undefined && Date.parse(job.created_at) < createdAfter) return false
  if (createdBefore !== undefined && Date.parse(job.created_at) >= createdBefore) return false
  if (minCostUsd !== undefined && (job.cost_usd ?? 0) < minCostUsd) return false
  return Object.entries(metadata).every(([name, value]) => job.metadata[name] === value)
}

/** Without a cursor, the walk begins at the first job that may have been created before this time, Unix ms. */
function beginBefore(
  createdBefore: number | undefined,
  start: Pick<JobListOptions, 'after' | 'from'>,
): Pick<JobListOptions, 'after' | 'from'> {
  if (createdBefore === undefined || start.after !== undefined) return start
  if (start.from !== undefined && start.from.createdAt < createdBefore) return start
  return { from: { createdAt: createdBefore, id: '' } }
}

type List = (filter: JobFilter, limit: number, options: JobListOptions) => Promise<JobPage>

/** Looks at the jobs of a list one by one, at most `MOST_SCANNED` of them. The jobs found have no results. */
export async function searchJobs(
  list: List,
  filter: JobFilter,
  limit: number,
  { after, from, mostScanned = MOST_SCANNED, signal }: Omit<JobListOptions, 'withResults'>,
): Promise<JobPage> {
  const indexed = withoutSearch(filter)
  const data: Job[] = []
  let start: Pick<JobListOptions, 'after' | 'from'> = beginBefore(filter.createdBefore, { after, from })
  let end: JobPlace | null = null
  let scanned = 0
  while (scanned < mostScanned && !signal?.aborted) {
    const left = mostScanned - scanned
    const page = await list(indexed, Math.min(BLOCK, left), {
      ...start,
      mostScanned: left,
      ...(signal && { signal }),
    })
    for (const job of page.data) {
      // All further jobs were created earlier still.
      if (filter.createdAfter !== undefined && job.created_at < isoTime(filter.createdAfter)) {
        return finish(false, lastFound(), null)
      }
      if (!matchesSearch(job, filter)) continue
      if (data.length === limit) return finish(true, lastFound(), null)
      data.push(job)
    }
    scanned += page.scanned ?? page.data.length
    if (page.end === null || !page.hasMore) return finish(false, lastFound(), null)
    end = page.end
    start = { from: end }
  }
  return finish(true, end, scanned)

  function lastFound(): JobPlace | null {
    const last = data.at(-1)
    return last === undefined ? null : { createdAt: Date.parse(last.created_at), id: last.id }
  }

  function finish(hasMore: boolean, at: JobPlace | null, looked: number | null): JobPage {
    return { data, hasMore, cursor: at?.id ?? null, scanned: looked, end: at }
  }
}
