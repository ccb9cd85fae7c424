import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
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
/** The first page is read again when something happens to a job, and so often without, ms. Those of all tenants have no such word. */
const READ_EVERY_MS = { one: 10_000, all: 3_000 }

/** The jobs of all tenants, or of one. */
export function JobsView({ filter }: { filter: JobFilter }) {
  const app = useApp()
  const tenants = (app.feed.overview.value?.tenants ?? []).map(({ id }) => id)
  // Where there is one tenant alone, its list is followed.
  const only = tenants.length === 1 ? tenants[0]! : ''
  const whole = { ...filter, tenant: filter.tenant || only }
  return (
    <>
      <div class="page-head">
        <h1>Jobs</h1>
        {isSorted(filter) ? null : <p class="muted">Newest first.</p>}
        <OpenById />
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

function OpenById() {
  const [id, setId] = useState('')
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault()
        if (id.trim() !== '') location.hash = linkToJob(id.trim(), null)
      }}
    >
      <input
        type="search"
        aria-label="Open a job by its id"
        placeholder="job_…"
        value={id}
        onInput={(event) => setId(event.currentTarget.value)}
      />
      <button type="submit">Open</button>
    </form>
  )
}

/** As they come, or many of them sorted. */
function Lists({ filter }: { filter: JobFilter }) {
  return isSorted(filter) ? <SortedJobs filter={filter} /> : <Pages filter={filter} />
}

function Pages({ filter }: { filter: JobFilter }) {
  const app = useApp()
  const { tenant, after: before, lane, group } = filter
  const isOfAll = tenant === ''
  /** The cursors after which each page begins; the first has none. In the address, so that the way back leads to the same page. */
  const starts = before === '' ? [] : before.split(',')
  const [read, setRead] = useState<{ page: List<OwnedJob>; after: string | undefined } | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const after = starts.at(-1)

  // Another filter is another component.
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
          // Older pages stand still.
          if (after !== undefined) return
        }
      } catch (error) {
        if (signal.aborted) return
        setFailure(explain(error))
      }
      if (!signal.aborted) timer = setTimeout(readNext, READ_EVERY_MS[isOfAll ? 'all' : 'one'])
    }
    // One after the other, so that no answer comes behind a later one.
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
  // Until another page is there, what is shown is the one before: a second press would skip one.
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
