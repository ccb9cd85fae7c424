import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCount, nothing } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { List, Owned, Schedule } from '../wire.ts'
import { ScheduleActions } from './schedule-actions.tsx'
import { Outcome } from './schedule-outcome.tsx'

/** They are read again so often, ms. */
const READ_EVERY_MS = 5_000
/** Of each tenant; the command line lists more. */
const MOST = 200

/** Jobs at times or at intervals, of all tenants: when they run next, how they ran last, and what to do about it. */
export function SchedulesView() {
  const app = useApp()
  const tenants = (app.feed.overview.value?.tenants ?? []).map(({ id }) => id)
  const [found, setFound] = useState<Owned[] | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const [turn, setTurn] = useState(0)
  const names = tenants.join('\n')

  useEffect(() => {
    if (names === '') return
    const leaving = new AbortController()
    const { signal } = leaving
    let timer: ReturnType<typeof setTimeout> | undefined
    const read = async () => {
      try {
        if (!document.hidden) {
          const lists = await Promise.all(
            names.split('\n').map(async (tenant) => {
              const list = await app.api.json<List<Schedule>>(`/v1/schedules?limit=${MOST}`, {
                tenant,
                signal,
              })
              return list.data.map((schedule) => ({ tenant, schedule }))
            }),
          )
          setFound(lists.flat())
          setFailure(null)
        }
      } catch (error) {
        if (signal.aborted) return
        setFailure(explain(error))
      }
      if (!signal.aborted) timer = setTimeout(read, READ_EVERY_MS)
    }
    read()
    return () => {
      leaving.abort()
      clearTimeout(timer)
    }
  }, [names, turn])

  return (
    <>
      <div class="page-head">
        <h1>Schedules</h1>
        <p class="muted">Jobs at times or at intervals.</p>
      </div>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      {found === null ? (
        failure === null ? (
          <Loading />
        ) : null
      ) : (
        <Schedules found={found} onChanged={() => setTurn(turn + 1)} />
      )}
    </>
  )
}

function Schedules({ found, onChanged }: { found: Owned[]; onChanged: () => void }) {
  if (found.length === 0) {
    return (
      <Empty title="There are no schedules.">
        <p>
          <code>POST /v1/schedules</code> makes one, as does <code>sluice schedules create</code>.
        </p>
      </Empty>
    )
  }
  return (
    <section class="panel">
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
          <Row key={owned.schedule.id} owned={owned} onChanged={onChanged} />
        ))}
      </Table>
    </section>
  )
}

function Row({ owned, onChanged }: { owned: Owned; onChanged: () => void }) {
  const { tenant, schedule } = owned
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
