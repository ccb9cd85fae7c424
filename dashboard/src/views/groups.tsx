import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Parts } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Expected, Time } from '../components/time.tsx'
import { formatCostSum, formatCount, nothing, shortenId, toWords } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { Tone } from '../state/lane-health.ts'
import { linkToJobs } from '../state/route.ts'
import type { Batch, Group } from '../wire.ts'
import { GroupBar } from './group-progress.tsx'

/** What belongs together, how far it is and when it will be done. */
export function GroupsView() {
  const overview = useApp().feed.overview.value
  if (overview === null) return <Loading />
  return (
    <>
      <div class="page-head">
        <h1>Groups and batches</h1>
        <p class="muted">The newest of each, open ones first.</p>
      </div>
      <Groups groups={overview.groups} />
      <Batches batches={overview.batches} />
    </>
  )
}

function Groups({ groups }: { groups: Group[] }) {
  if (groups.length === 0) {
    return (
      <Empty title="There are no groups.">
        <p>
          Jobs that are created with the same <code>"group"</code> are counted together here.
        </p>
      </Empty>
    )
  }
  return (
    <section class="panel">
      <Table
        caption="Groups"
        isCaptionShown
        head={[
          { name: 'Group' },
          { name: 'Tenant' },
          { name: 'Progress' },
          { name: 'Completed', isNumber: true },
          { name: 'Open', isNumber: true },
          { name: 'Failed', isNumber: true },
          { name: 'Cost', isNumber: true },
          { name: 'Done' },
          { name: 'Last change' },
        ]}
      >
        {groups.map(({ tenant, group, total, counts, estimated_finish_at, updated_at, ...cost }) => {
          const open = counts.scheduled + counts.queued + counts.running
          return (
            <tr key={`${tenant} ${group}`}>
              <th scope="row" class="clip" title={group}>
                <a href={linkToJobs({ tenant, group })}>{group}</a>
              </th>
              <td>{tenant}</td>
              <td class="wide-bar">
                <GroupBar label={group} counts={counts} total={total} />
              </td>
              <td class="num right">
                {formatCount(counts.completed)} of {formatCount(total)}
              </td>
              <td class="num right">{formatCount(open)}</td>
              <td class="num right">
                {counts.failed === 0 ? (
                  '0'
                ) : (
                  <a href={linkToJobs({ tenant, group, status: 'failed' })}>{formatCount(counts.failed)}</a>
                )}
              </td>
              <td class="num right">{formatCostSum(cost)}</td>
              <td class="num">
                {open === 0 ? 'all ended' : <Expected at={estimated_finish_at} late={nothing} />}
              </td>
              <td class="num">
                <Time at={updated_at} />
              </td>
            </tr>
          )
        })}
      </Table>
    </section>
  )
}

const batchTones: Record<string, Tone> = {
  completed: 'good',
  failed: 'bad',
  expired: 'bad',
  cancelled: 'warn',
  cancelling: 'warn',
}

function Batches({ batches }: { batches: Batch[] }) {
  if (batches.length === 0) {
    return (
      <Empty title="There are no batches.">
        <p>
          <code>POST /v1/batches</code> with a file of requests makes one, as an OpenAI SDK does.
        </p>
      </Empty>
    )
  }
  return (
    <section class="panel">
      <Table
        caption="Batches"
        isCaptionShown
        head={[
          { name: 'Batch' },
          { name: 'Tenant' },
          { name: 'Status' },
          { name: 'Progress' },
          { name: 'Completed', isNumber: true },
          { name: 'Failed', isNumber: true },
          { name: 'Done' },
          { name: 'Created' },
        ]}
      >
        {batches.map(({ tenant, id, status, created_at, request_counts: counts, estimated_finish_at }) => (
          <tr key={id}>
            <th scope="row" title={id}>
              <a href={linkToJobs({ tenant, group: id })}>{shortenId(id)}</a>
            </th>
            <td>{tenant}</td>
            <td>
              <Chip tone={batchTones[status] ?? 'info'} label={toWords(status)} />
            </td>
            <td class="wide-bar">
              <Parts
                label={id}
                total={counts.total}
                parts={[
                  { name: 'completed', count: counts.completed, tone: 'good' },
                  { name: 'failed', count: counts.failed, tone: 'bad' },
                ]}
              />
            </td>
            <td class="num right">
              {formatCount(counts.completed)} of {formatCount(counts.total)}
            </td>
            <td class="num right">{formatCount(counts.failed)}</td>
            <td class="num">
              <Expected at={estimated_finish_at} late={nothing} />
            </td>
            <td class="num">
              <Time at={typeof created_at === 'number' ? created_at * 1_000 : created_at} />
            </td>
          </tr>
        ))}
      </Table>
    </section>
  )
}
