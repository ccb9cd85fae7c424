import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
import { OpenById } from '../components/open-by-id.tsx'
import { useApp } from '../state/app.ts'
import { isFiltered, isSorted, type JobFilter, toJobQuery } from '../state/job-filter.ts'
import { followNews } from '../state/news.ts'
import { linkToJob, linkToJobs } from '../state/route.ts'
import type { List, OwnedJob } from '../wire.ts'
import { JobFilters } from './job-filters.tsx'
import { JobTable } from './job-table.tsx'
import { NoJobs } from './no-jobs.tsx'
import { SortedJobs } from './sorted-jobs.tsx'

const PAGE = 50
/** Time between two reads of the first page, ms. For one tenant, events cause a read as well; for all tenants there are no events. */
const READ_EVERY_MS = { one: 10_000, all: 3_000 }

/** The jobs of all tenants, or of one. */
export function JobsView({ filter }: { filter: JobFilter }) {
  const app = useApp()
  const tenants = (app.feed.overview.value?.tenants ?? []).map(({ id }) => id)
  // If there is only one tenant, the page follows its list.
  const only = tenants.length === 1 ? tenants[0]! : ''
  const whole = { ...filter, tenant: filter.tenant || only }
  return (
    <>
      <div class="page-head">
        <h1>Jobs</h1>
        {isSorted(filter) ? null : <p class="muted">Newest first.</p>}
        <OpenById
          label="Open a job by its id"
          placeholder="job_…"
          onOpen={(id) => {
            location.hash = linkToJob(id, null)
          }}
        />
      </div>
      <JobFilters filter={whole} tenants={tenants} />
      {tenants.length === 0 ? (
        <Loading />
      ) : (
        <Lists key={JSON.stringify({ ...whole, after: '', sort: '' })} filter={whole} />
      )}
    </>
  )
}

/** The jobs by creation, page by page, or the newest ones sorted by a column. */
function Lists({ filter }: { filter: JobFilter }) {
  return isSorted(filter) ? <SortedJobs filter={filter} /> : <Pages filter={filter} />
}

function Pages({ filter }: { filter: JobFilter }) {
  const app = useApp()
  const { tenant, after: before, lane, group } = filter
  const isOfAll = tenant === ''
  /** The cursor before each page but the first. The address contains them, so that Back returns to the same page. */
  const starts = before === '' ? [] : before.split(',')
  const [read, setRead] = useState<{ page: List<OwnedJob>; after: string | undefined } | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const after = starts.at(-1)

  // Another filter makes a new component, so the filter never changes here.
  useEffect(() => {
    const leaving = new AbortController()
    const { signal } = leaving
    let timer: ReturnType<typeof setTimeout> | undefined
    let turn: Promise<void> = Promise.resolve()
    const readPage = async () => {
      clearTimeout(timer)
      try {
        const path = `/v1/jobs${isOfAll ? '/all' : ''}${toJobQuery(filter, { limit: PAGE, after })}`
        if (!document.hidden) {
          setRead({ page: await app.api.json<List<OwnedJob>>(path, { tenant, signal }), after })
          setFailure(null)
          // Older pages are not refreshed.
          if (after !== undefined) return
        }
      } catch (error) {
        if (signal.aborted) return
        setFailure(explain(error))
      }
      if (!signal.aborted) timer = setTimeout(readNext, READ_EVERY_MS[isOfAll ? 'all' : 'one'])
    }
    // Reads one after the other, so that a late answer never replaces a newer one.
    const readNext = () => {
      turn = turn.then(() => (signal.aborted ? undefined : readPage()))
    }
    readNext()
    const about = { ...(group && { group }), ...(lane && { lane }) }
    const clocks = { now: Date.now, random: Math.random }
    const leave =
      after === undefined && !isOfAll
        ? followNews({ api: app.api, tenant, ...clocks }, about, readNext)
        : () => {}
    return () => {
      leaving.abort()
      leave()
      clearTimeout(timer)
    }
  }, [after])

  if (read === null) return failure === null ? <Loading /> : <FailureText text={failure} />
  const { page } = read
  // The previous page stays until the next one arrives. A second press before that would skip a page.
  const isTurning = read.after !== after
  const turnTo = (next: string[]) => {
    location.hash = linkToJobs({ ...filter, after: next.join(',') })
  }
  return (
    <>
      <FailureText text={failure} />
      {page.data.length === 0 ? (
        <NoJobs isFiltered={isFiltered(filter)} isOfAll={isOfAll} scanned={page.scanned ?? null} />
      ) : (
        <section class="panel">
          <JobTable jobs={page.data} filter={filter} />
        </section>
      )}
      <div class="buttons pager">
        <button
          type="button"
          disabled={isTurning || starts.length === 0}
          onClick={() => turnTo(starts.slice(0, -1))}
        >
          Newer
        </button>
        <button
          type="button"
          disabled={isTurning || !page.has_more}
          onClick={() => turnTo([...starts, page.last_id!])}
        >
          Older
        </button>
      </div>
    </>
  )
}
