import { useEffect, useMemo, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { StatusChip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { describeWait, formatCount, formatUsd, shortenId } from '../format.ts'
import { useApp } from '../state/app.ts'
import { chooseTenant } from '../state/choose-tenant.ts'
import { followNews } from '../state/news.ts'
import { type JobFilter, linkToJob, linkToJobs, toQuery } from '../state/route.ts'
import { type Job, jobStatuses, type List } from '../wire.ts'
import { BulkActions } from './bulk-actions.tsx'

const PAGE = 50
/** The first page is read again when something happens to a job, and so often without, ms. */
const READ_EVERY_MS = 10_000

/** The jobs of one tenant. */
export function JobsView({ filter }: { filter: JobFilter }) {
  const app = useApp()
  const known = app.feed.overview.value?.tenants ?? []
  const tenants = known.map(({ id }) => id)
  const isKnown = known.length > 0
  // Chosen once, or the list would change hands while somebody reads it.
  const chosen = useMemo(() => chooseTenant(known, filter.status), [isKnown, filter.status])
  const tenant = filter.tenant || chosen
  const whole = { ...filter, tenant }
  return (
    <>
      <div class="page-head">
        <h1>Jobs</h1>
        <p class="muted">Newest first.</p>
        <OpenById tenant={tenant} />
      </div>
      <Filters filter={whole} tenants={tenants} />
      {tenant === '' ? <Loading /> : <Pages key={JSON.stringify({ ...whole, after: '' })} filter={whole} />}
    </>
  )
}

function OpenById({ tenant }: { tenant: string }) {
  const [id, setId] = useState('')
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault()
        if (id.trim() !== '') location.hash = linkToJob(id.trim(), tenant)
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

function Filters({ filter, tenants }: { filter: JobFilter; tenants: string[] }) {
  const lanes = useApp().feed.overview.value?.lanes.map(({ id }) => id) ?? []
  const change = (changed: Partial<JobFilter>) => {
    location.hash = linkToJobs({ ...filter, after: '', ...changed })
  }
  const choices: { name: keyof JobFilter; label: string; values: readonly string[]; any: string | null }[] = [
    { name: 'tenant', label: 'Tenant', values: tenants, any: null },
    { name: 'status', label: 'Status', values: jobStatuses, any: 'any status' },
    { name: 'lane', label: 'Lane', values: lanes, any: 'any lane' },
  ]
  return (
    <search class="filters" aria-label="Filter jobs">
      {choices.map(({ name, label, values, any }) => {
        const value = filter[name]
        const options = value === '' || values.includes(value) ? values : [value, ...values]
        return (
          <label key={name}>
            {label}
            <select value={value} onChange={(event) => change({ [name]: event.currentTarget.value })}>
              {any === null ? null : <option value="">{any}</option>}
              {options.map((option) => (
                <option key={option} value={option}>
                  {option}
                </option>
              ))}
            </select>
          </label>
        )
      })}
      <label>
        Group
        <input
          type="search"
          value={filter.group}
          placeholder="any group"
          onChange={(event) => change({ group: event.currentTarget.value.trim() })}
        />
      </label>
      {filter.status || filter.lane || filter.group ? (
        <a class="clear" href={linkToJobs({ tenant: filter.tenant })}>
          Clear
        </a>
      ) : null}
      <BulkActions filter={filter} />
    </search>
  )
}

function Pages({ filter }: { filter: JobFilter }) {
  const app = useApp()
  const { tenant, after: before, ...query } = filter
  /** The ids after which each page begins; the first has none. In the address, so that the way back leads to the same page. */
  const starts = before === '' ? [] : before.split(',')
  const [read, setRead] = useState<{ page: List<Job>; after: string | undefined } | null>(null)
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
        const path = `/v1/jobs${toQuery({ ...query, limit: String(PAGE), ...(after === undefined ? {} : { after }) })}`
        if (!document.hidden) {
          setRead({ page: await app.api.json<List<Job>>(path, { tenant, signal }), after })
          setFailure(null)
          // Older pages stand still.
          if (after !== undefined) return
        }
      } catch (error) {
        if (signal.aborted) return
        setFailure(explain(error))
      }
      if (!signal.aborted) timer = setTimeout(readNext, READ_EVERY_MS)
    }
    // One after the other, so that no answer comes behind a later one.
    const readNext = () => {
      turn = turn.then(() => (signal.aborted ? undefined : readPage()))
    }
    readNext()
    const { group, lane } = query
    const about = { ...(group && { group }), ...(lane && { lane }) }
    const clocks = { now: Date.now, random: Math.random }
    const leave =
      after === undefined ? followNews({ api: app.api, tenant, ...clocks }, about, readNext) : () => {}
    return () => {
      leaving.abort()
      leave()
      clearTimeout(timer)
    }
  }, [after])

  if (read === null) return failure === null ? <Loading /> : <Failure text={failure} />
  const { page } = read
  // Until another page is there, what is shown is the one before: a second press would skip one.
  const isTurning = read.after !== after
  const turnTo = (next: string[]) => {
    location.hash = linkToJobs({ ...filter, after: next.join(',') })
  }
  return (
    <>
      {failure === null ? null : <Failure text={failure} />}
      {page.data.length === 0 ? (
        <NoJobs
          isFiltered={Boolean(filter.status || filter.lane || filter.group)}
          scanned={page.scanned ?? null}
        />
      ) : (
        <section class="panel">
          <JobTable jobs={page.data} tenant={tenant} />
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

function Failure({ text }: { text: string }) {
  return (
    <p class="failure" role="alert">
      {text}
    </p>
  )
}

function NoJobs({ isFiltered, scanned }: { isFiltered: boolean; scanned: number | null }) {
  if (scanned !== null)
    return <Empty title={`None of these ${formatCount(scanned)} jobs is like that; older ones may be.`} />
  if (isFiltered) return <Empty title="No job is like that." />
  return (
    <Empty title="This tenant has no jobs.">
      <p>
        <code>POST /v1/jobs</code> makes one, and so does every call of an OpenAI SDK that is pointed here.
        Ended jobs are forgotten after <code>jobs.retain</code>.
      </p>
    </Empty>
  )
}

function JobTable({ jobs, tenant }: { jobs: Job[]; tenant: string }) {
  return (
    <Table
      caption="Jobs"
      head={[
        { name: 'Job' },
        { name: 'Status' },
        { name: 'Lane' },
        { name: 'Group' },
        { name: 'What holds it, or ended it' },
        { name: 'Calls', isNumber: true },
        { name: 'Tokens', isNumber: true },
        { name: 'Cost', isNumber: true },
        { name: 'Created' },
      ]}
    >
      {jobs.map((job) => (
        <tr key={job.id}>
          <th scope="row" title={job.id}>
            <a class="mono" href={linkToJob(job.id, tenant)}>
              {shortenId(job.id)}
            </a>
          </th>
          <td>
            <StatusChip status={job.status} />
          </td>
          <td class="clip" title={job.lane}>
            {job.lane}
          </td>
          <td class="clip" title={job.group ?? undefined}>
            {job.group ?? ''}
          </td>
          <td class="clip" title={job.error?.message}>
            <Why job={job} />
          </td>
          <td class="num right">
            {job.attempts} of {job.max_attempts}
          </td>
          <td class="num right">{formatCount(job.usage?.total_tokens ?? null)}</td>
          <td class="num right">{formatUsd(job.cost_usd)}</td>
          <td class="num">
            <Time at={job.created_at} />
          </td>
        </tr>
      ))}
    </Table>
  )
}

function Why({ job }: { job: Job }) {
  if (job.error !== null) return <code>{job.error.code}</code>
  if (job.waiting_for !== null) return <span class="muted">waits for {describeWait(job.waiting_for)}</span>
  if (job.cache === 'hit' || job.cache === 'shared') {
    return <span class="muted">{job.cache === 'hit' ? 'answered from the cache' : 'shares a call'}</span>
  }
  return null
}
