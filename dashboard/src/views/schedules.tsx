import { Chip } from '../components/chip.tsx'
import { Empty } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCount, nothing } from '../format.ts'
import { descending, type Owned } from '../state/owned-lists.ts'
import { type FilterOf, linkToList } from '../state/route.ts'
import { useOwned } from '../state/use-owned.ts'
import type { Schedule } from '../wire.ts'
import { OwnedList, TenantChoice } from './owned-list.tsx'
import { ScheduleActions } from './schedule-actions.tsx'
import { Outcome } from './schedule-outcome.tsx'

/** Time between two reads of the list, ms. */
const READ_EVERY_MS = 5_000

const newest = descending<Schedule>((schedule) => schedule.created_at)

/** The schedules of all tenants: next run, last outcome, and actions. */
export function SchedulesView({ filter: { tenant } }: { filter: FilterOf<'schedules'> }) {
  const list = useOwned({ path: '/v1/schedules', tenant, everyMs: READ_EVERY_MS, order: newest })
  return (
    <>
      <div class="page-head">
        <h1>Schedules</h1>
        <p class="muted">Jobs and flows at times or at intervals; the newest schedule first.</p>
      </div>
      <search class="filters" aria-label="Filter schedules">
        <TenantChoice
          tenant={tenant}
          onChange={(chosen) => {
            location.hash = linkToList('schedules', { tenant: chosen })
          }}
        />
      </search>
      <OwnedList
        list={list}
        table={(found) => <Schedules found={found} onChanged={list.reload} />}
        empty={
          <Empty title="There are no schedules.">
            <p>
              <code>POST /v1/schedules</code> makes one, as does <code>sluice schedules create</code>.
            </p>
          </Empty>
        }
      />
    </>
  )
}

function Schedules({ found, onChanged }: { found: Owned<Schedule>[]; onChanged: () => void }) {
  return (
    <Table
      caption="Schedules"
      head={[
        { name: 'Schedule' },
        { name: 'Tenant' },
        { name: 'Times' },
        { name: 'State' },
        { name: 'Next' },
        { name: 'Last' },
        { name: 'Runs', isNumber: true },
        { name: 'Actions', isHidden: true },
      ]}
    >
      {found.map((owned) => (
        <Row key={owned.entry.id} owned={owned} onChanged={onChanged} />
      ))}
    </Table>
  )
}

function Row({ owned, onChanged }: { owned: Owned<Schedule>; onChanged: () => void }) {
  const { tenant, entry: schedule } = owned
  const { id, name, cron, every, time_zone: zone, paused, next_runs: next, last_run: last, runs } = schedule
  const isOver = !paused && next.length === 0
  return (
    <tr>
      <th scope="row" class="clip" title={id}>
        {name ?? id}
      </th>
      <td>{tenant}</td>
      <td>
        <code>{cron ?? `every ${every}`}</code> {cron === null || zone === 'UTC' ? null : zone}
      </td>
      <td>
        <Chip
          tone={paused ? 'warn' : isOver ? 'idle' : 'good'}
          label={paused ? 'paused' : isOver ? 'ended' : 'active'}
        />
      </td>
      <td class="num">{paused ? nothing : <Time at={next[0] ?? null} />}</td>
      <td class="num">
        {last === null ? (
          nothing
        ) : (
          <Outcome outcome={last.outcome} job={last.job_id} at={last.scheduled_for} tenant={tenant} />
        )}
      </td>
      <td class="num right">{formatCount(runs)}</td>
      <td class="right">
        <ScheduleActions owned={owned} onChanged={onChanged} />
      </td>
    </tr>
  )
}
