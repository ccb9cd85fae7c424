import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { nothing, shortenId } from '../format.ts'
import { toQuery } from '../state/query.ts'
import { linkToJob, linkToJobs } from '../state/route.ts'
import { useRead } from '../state/use-read.ts'
import type { Lane, List, OwnedJob } from '../wire.ts'

const READ_EVERY_MS = 10_000
const SHOWN = 8

/** The newest failed jobs of the lane: their last answers and their tenants. */
export function FailedJobs({ lane }: { lane: Lane }) {
  const query = toQuery({ lane: lane.id, status: 'failed', limit: String(SHOWN) })
  const { body } = useRead<List<OwnedJob>>(`/v1/jobs/all${query}`, READ_EVERY_MS)
  if (body === null || body.data.length === 0) return null
  return (
    <section class="panel">
      <Table
        caption="Jobs that failed lately"
        isCaptionShown
        head={[
          { name: 'Job' },
          { name: 'Tenant' },
          { name: 'Ended' },
          { name: 'Status', isNumber: true },
          { name: 'Error' },
          { name: 'What was said' },
        ]}
      >
        {body.data.map((job) => (
          <tr key={job.id}>
            <th scope="row" title={job.id}>
              <a class="mono" href={linkToJob(job.id, job.tenant ?? null)}>
                {shortenId(job.id)}
              </a>
            </th>
            <td>{job.tenant}</td>
            <td class="num">
              <Time at={job.finished_at} />
            </td>
            <td class="num right">{job.error?.provider_status ?? nothing}</td>
            <td>
              <code>{job.error?.code}</code>
            </td>
            <td class="breakable">{job.error?.message}</td>
          </tr>
        ))}
      </Table>
      <p class="note">
        <a href={linkToJobs({ lane: lane.id, status: 'failed' })}>All of them</a>
      </p>
    </section>
  )
}

/** The latest broken calls, and whose jobs they were. */
export function BrokenCalls({ lane: { breaker } }: { lane: Lane }) {
  if (breaker.last_broken.length === 0) return null
  const held = breaker.held_tenants.map((tenant) => tenant || 'calls that several tenants shared')
  return (
    <section class="panel">
      {held.length > 0 && <p>The breaker holds back: {held.join(', ')}. Other tenants’ calls may leave.</p>}
      <Table
        caption="Calls that broke lately"
        isCaptionShown
        head={[
          { name: 'When' },
          { name: 'Status', isNumber: true },
          { name: 'Error' },
          { name: 'The provider said' },
          { name: 'Jobs' },
        ]}
      >
        {breaker.last_broken.map((call, index) => (
          <tr key={`${call.at} ${index}`}>
            <td class="num">
              <Time at={call.at} />
            </td>
            <td class="right">{call.status ?? nothing}</td>
            <td>{call.code}</td>
            <td>{call.message ?? nothing}</td>
            <td>
              {call.jobs.map(({ tenant, id }, place) => (
                <span key={id}>
                  {place > 0 ? ', ' : ''}
                  <a class="mono" href={linkToJob(id, tenant)} title={id}>
                    {shortenId(id)}
                  </a>{' '}
                  of {tenant}
                </span>
              ))}
            </td>
          </tr>
        ))}
      </Table>
    </section>
  )
}
