import type { Job } from './job.ts'
import type { JobFilter, JobListOptions, JobPage } from './jobs.ts'
import { isoTime } from './record.ts'

/** Most jobs that one page looks at. */
const MOST_SCANNED = 10_000

/** Jobs read at once. */
const BLOCK = 500

/** Members of a filter that no index of Redis knows: each job is looked at. */
const SEARCHED = ['model', 'errorCode', 'metadata', 'createdAfter', 'createdBefore', 'minCostUsd'] as const

export function isSearch(filter: JobFilter): boolean {
  return SEARCHED.some((name) => filter[name] !== undefined)
}

/** What the indexes know of the filter. */
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

type List = (filter: JobFilter, limit: number, options: JobListOptions) => Promise<JobPage>

/** Looks at the jobs of a list one by one, `MOST_SCANNED` of them at the most. They come without results. */
export async function searchJobs(
  list: List,
  filter: JobFilter,
  limit: number,
  { after, signal }: Pick<JobListOptions, 'after' | 'signal'>,
): Promise<JobPage> {
  const indexed = withoutSearch(filter)
  const data: Job[] = []
  let cursor = after
  let scanned = 0
  while (scanned < MOST_SCANNED && !signal?.aborted) {
    const page = await list(indexed, BLOCK, { after: cursor, ...(signal && { signal }) })
    for (const job of page.data) {
      // All that follow were made earlier still.
      if (filter.createdAfter !== undefined && job.created_at < isoTime(filter.createdAfter)) {
        return finish(false, data.at(-1)?.id ?? null, null)
      }
      if (!matchesSearch(job, filter)) continue
      if (data.length === limit) return finish(true, data.at(-1)!.id, null)
      data.push(job)
    }
    scanned += page.scanned ?? page.data.length
    cursor = page.cursor ?? undefined
    if (!page.hasMore || cursor === undefined) return finish(false, data.at(-1)?.id ?? null, null)
  }
  return finish(true, cursor ?? null, scanned)

  function finish(hasMore: boolean, last: string | null, looked: number | null): JobPage {
    return { data, hasMore, cursor: last, scanned: looked }
  }
}
