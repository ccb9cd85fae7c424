import type { List, OwnedJob } from '../wire.ts'

/** So many of the newest are sorted; more would keep the server busy, and nobody reads them. */
export const MOST_SORTED = 1_000
/** Jobs of one request. */
const PAGE = 500
/** A page ends early where it had to look at many jobs that are not meant; then so many requests are enough. */
const MOST_REQUESTS = 8

/** The newest jobs of a list, to be sorted. `isWhole`: there are no others. */
export type NewestJobs = { jobs: OwnedJob[]; isWhole: boolean }

/** Reads the newest jobs that a filter names, page after page. */
export async function readNewest(
  readPage: (page: { limit: number; after: string | undefined }) => Promise<List<OwnedJob>>,
): Promise<NewestJobs> {
  const jobs: OwnedJob[] = []
  let after: string | undefined
  for (let requests = 0; requests < MOST_REQUESTS; requests++) {
    const page = await readPage({ limit: Math.min(PAGE, MOST_SORTED - jobs.length), after })
    jobs.push(...page.data)
    if (!page.has_more || page.last_id === null) return { jobs, isWhole: true }
    if (jobs.length >= MOST_SORTED) break
    after = page.last_id
  }
  return { jobs, isWhole: false }
}
