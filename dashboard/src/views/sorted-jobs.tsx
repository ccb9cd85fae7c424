import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
import { countOf, formatCount } from '../format.ts'
import { useApp } from '../state/app.ts'
import { isFiltered, type JobFilter, sortJobs, toJobQuery } from '../state/job-filter.ts'
import { linkToJobs } from '../state/route.ts'
import { type NewestJobs, readNewest } from '../state/sorted-jobs.ts'
import type { List, OwnedJob } from '../wire.ts'
import { JobTable } from './job-table.tsx'
import { NoJobs } from './no-jobs.tsx'

const PAGE = 50
/** Time between two reads, ms; each takes several requests. */
const READ_EVERY_MS = 15_000

/** The newest jobs that match the filter, sorted by a column over all pages. */
export function SortedJobs({ filter }: { filter: JobFilter }) {
  const { api } = useApp()
  const { tenant, sort, after } = filter
  const isOfAll = tenant === ''
  const [read, setRead] = useState<NewestJobs | null>(null)
  const [failure, setFailure] = useState<string | null>(null)

  // Another filter makes a new component; another column only sorts the jobs that are here.
  useEffect(() => {
    const leaving = new AbortController()
    const { signal } = leaving
    let timer: ReturnType<typeof setTimeout> | undefined
    const look = async () => {
      try {
        if (!document.hidden) {
          const next = await readNewest((page) =>
            api.json<List<OwnedJob>>(`/v1/jobs${isOfAll ? '/all' : ''}${toJobQuery(filter, page)}`, {
              tenant,
              signal,
            }),
          )
          if (signal.aborted) return
          setRead(next)
          setFailure(null)
        }
      } catch (error) {
        if (signal.aborted) return
        setFailure(explain(error))
      }
      if (!signal.aborted) timer = setTimeout(look, READ_EVERY_MS)
    }
    look()
    return () => {
      leaving.abort()
      clearTimeout(timer)
    }
  }, [])

  if (read === null) return failure === null ? <Loading /> : <FailureText text={failure} />
  const { jobs, isWhole } = read
  if (jobs.length === 0)
    return (
      <>
        <FailureText text={failure} />
        <NoJobs isFiltered={isFiltered(filter)} isOfAll={isOfAll} scanned={null} />
      </>
    )
  const pages = Math.ceil(jobs.length / PAGE)
  const page = Math.min(pages - 1, Math.max(0, Math.trunc(Number(after)) || 0))
  const turnTo = (next: number) => {
    location.hash = linkToJobs({ ...filter, after: next === 0 ? '' : String(next) })
  }
  return (
    <>
      <FailureText text={failure} />
      <p class="muted">
        {isWhole
          ? `All ${countOf(jobs.length, 'job')}, sorted.`
          : `The newest ${formatCount(jobs.length)}, sorted. Older ones are left out: narrow the search to see them.`}
      </p>
      <section class="panel">
        <JobTable jobs={sortJobs(jobs, sort).slice(page * PAGE, (page + 1) * PAGE)} filter={filter} />
      </section>
      {pages === 1 ? null : (
        <div class="buttons pager">
          <button type="button" disabled={page === 0} onClick={() => turnTo(page - 1)}>
            Previous
          </button>
          <span class="num">{`page ${page + 1} of ${pages}`}</span>
          <button type="button" disabled={page === pages - 1} onClick={() => turnTo(page + 1)}>
            Next
          </button>
        </div>
      )}
    </>
  )
}
