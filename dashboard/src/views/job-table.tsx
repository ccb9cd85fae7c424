import { StatusChip } from '../components/chip.tsx'
import { type Column, Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { describeWait, formatCount, formatUsd, shortenId } from '../format.ts'
import { type JobFilter, nextSort, type SortKey, sortOf } from '../state/job-filter.ts'
import { linkToJob, linkToJobs } from '../state/route.ts'
import type { Job, OwnedJob } from '../wire.ts'

/** The jobs of a page, in the given order. */
export function JobTable({ jobs, filter }: { jobs: OwnedJob[]; filter: JobFilter }) {
  const { sort } = filter
  const isOfAll = jobs.some(({ tenant }) => tenant !== undefined)
  const sorted = (name: string, key: SortKey, isNumber = false): Column => ({
    name,
    isNumber,
    sort: sortOf(sort, key),
    onSort: () => {
      location.hash = linkToJobs({ ...filter, after: '', sort: nextSort(sort, key) })
    },
  })
  return (
    <Table
      caption="Jobs"
      head={[
        { name: 'Job' },
        ...(isOfAll ? [{ name: 'Tenant' }] : []),
        sorted('Status', 'status'),
        sorted('Lane', 'lane'),
        { name: 'Group' },
        { name: 'What holds it, or ended it' },
        sorted('Calls', 'calls', true),
        sorted('Tokens', 'tokens', true),
        sorted('Cost', 'cost', true),
        sorted('Created', 'created'),
      ]}
    >
      {jobs.map((job) => (
        <tr key={job.id}>
          <th scope="row" title={job.id}>
            <a class="mono" href={linkToJob(job.id, job.tenant ?? filter.tenant)}>
              {shortenId(job.id)}
            </a>
          </th>
          {isOfAll ? (
            <td class="clip" title={job.tenant}>
              <a href={linkToJobs({ ...filter, after: '', tenant: job.tenant ?? '' })}>{job.tenant}</a>
            </td>
          ) : null}
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
