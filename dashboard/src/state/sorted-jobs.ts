import type { List, OwnedJob } from '../wire.ts'

/** How many of the newest jobs are sorted. More would keep the server busy, and nobody reads them. */
export const MOST_SORTED = 1_000
/** Jobs of one request. */
const PAGE = 500
/** A page ends early if it had to skip many jobs that do not match. Then reading stops after this many requests. */
const MOST_REQUESTS = 8

/** The newest jobs of a list, to sort. `isWhole`: the list has no others. */
export type NewestJobs = { jobs: OwnedJob[]; isWhole: boolean }

/** Reads the newest jobs that match a filter, page after page. */
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
