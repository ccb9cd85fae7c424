import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Dialog } from '../components/dialog.tsx'
import { Loading } from '../components/empty.tsx'
import { Icon } from '../components/icon.tsx'
import { Table } from '../components/table.tsx'
import { useApp } from '../state/app.ts'
import type { Owned } from '../state/owned-lists.ts'
import type { List, Schedule, ScheduleRun } from '../wire.ts'
import { Outcome } from './schedule-outcome.tsx'

/** The most runs that the dialog shows; the command line lists more. */
const HISTORY = 50

const pathOf = ({ id }: Schedule, rest = '') => `/v1/schedules/${encodeURIComponent(id)}${rest}`
const nameOf = ({ name, id }: Schedule) => name ?? id

type Asked = 'pause' | 'resume' | 'run' | 'edit' | 'history'

/** The actions on a schedule; those that change something ask first. A schedule of the configuration file can only be run and read. */
export function ScheduleActions({ owned, onChanged }: { owned: Owned<Schedule>; onChanged: () => void }) {
  const { entry: schedule } = owned
  const [asked, setAsked] = useState<Asked | null>(null)
  const close = () => setAsked(null)
  const button = (action: Asked, label: string) => (
    <button
      type="button"
      class="small"
      aria-label={`${label} ${nameOf(schedule)}`}
      onClick={() => setAsked(action)}
    >
      {action === 'pause' || action === 'resume' ? (
        <Icon name={action === 'pause' ? 'pause' : 'play'} />
      ) : null}{' '}
      {label}
    </button>
  )
  const mayAct = useApp().may('jobs')
  const isOurs = mayAct && schedule.source === 'api'
  return (
    <div class="buttons">
      {isOurs ? (schedule.paused ? button('resume', 'Resume') : button('pause', 'Pause')) : null}
      {mayAct ? button('run', 'Run now') : null}
      {isOurs ? button('edit', 'Edit') : null}
      {button('history', 'History')}
      {asked === 'pause' || asked === 'resume' ? (
        <PauseDialog owned={owned} isPaused={asked === 'pause'} onChanged={onChanged} onClose={close} />
      ) : asked === 'run' ? (
        <RunDialog owned={owned} onChanged={onChanged} onClose={close} />
      ) : asked === 'edit' ? (
        <EditDialog owned={owned} onChanged={onChanged} onClose={close} />
      ) : asked === 'history' ? (
        <HistoryDialog owned={owned} onClose={close} />
      ) : null}
    </div>
  )
}

type Question = { owned: Owned<Schedule>; onChanged: () => void; onClose: () => void }

function PauseDialog({ owned, isPaused, onChanged, onClose }: Question & { isPaused: boolean }) {
  const app = useApp()
  const { tenant, entry: schedule } = owned
  const word = isPaused ? 'Pause' : 'Resume'
  const confirm = async () => {
    await app.api.json(pathOf(schedule), { method: 'PATCH', body: { paused: isPaused }, tenant })
    app.notify('good', `${nameOf(schedule)} ${isPaused ? 'is paused' : 'goes on'}.`)
    onChanged()
  }
  return (
    <Dialog title={`${word} ${nameOf(schedule)}?`} action={word} onConfirm={confirm} onClose={onClose}>
      <p>
        {isPaused
          ? 'No slot is run while it is paused, and none of them is made up for later. Jobs under way go on.'
          : 'It goes on with the next slot. Those that passed meanwhile are not made up for.'}
      </p>
    </Dialog>
  )
}

function RunDialog({ owned, onChanged, onClose }: Question) {
  const app = useApp()
  const { tenant, entry: schedule } = owned
  const confirm = async () => {
    const { id } = await app.api.json<{ id: string }>(pathOf(schedule, '/run'), { method: 'POST', tenant })
    app.notify('good', `${nameOf(schedule)} runs as ${id}.`)
    onChanged()
  }
  return (
    <Dialog title={`Run ${nameOf(schedule)} now?`} action="Run now" onConfirm={confirm} onClose={onClose}>
      <p>It makes its {schedule.job === null ? 'flow' : 'job'} at once, beside its slots.</p>
    </Dialog>
  )
}

/** The fields that can be changed, by their names in the API. */
const EDITABLE = [
  ...['name', 'cron', 'every', 'time_zone', 'job', 'flow', 'overlap', 'catch_up'],
  ...['starts_at', 'ends_at', 'max_runs', 'metadata'],
] as (keyof Schedule)[]

function EditDialog({ owned, onChanged, onClose }: Question) {
  const app = useApp()
  const { tenant, entry: schedule } = owned
  const [text, setText] = useState(() =>
    JSON.stringify(Object.fromEntries(EDITABLE.map((name) => [name, schedule[name]])), null, 2),
  )
  const confirm = async () => {
    await app.api.json(pathOf(schedule), { method: 'PATCH', body: readChanges(schedule, text), tenant })
    app.notify('good', `${nameOf(schedule)} is changed from its next slot on.`)
    onChanged()
  }
  return (
    <Dialog title={`Edit ${nameOf(schedule)}`} action="Save" onConfirm={confirm} onClose={onClose}>
      <label>
        As the API takes it; what is null is the default
        <textarea
          class="code"
          rows={18}
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
    </Dialog>
  )
}

/** The fields that differ from the schedule. Unchanged fields are not sent, because a browser may not read every number exactly. */
function readChanges(schedule: Schedule, text: string): object {
  let edited: Record<string, unknown>
  try {
    edited = JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    throw new Error(`This is not JSON: ${explain(error)}`)
  }
  const changed = Object.entries(edited).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(schedule[name as keyof Schedule]),
  )
  return Object.fromEntries(changed)
}

function HistoryDialog({ owned, onClose }: { owned: Owned<Schedule>; onClose: () => void }) {
  const app = useApp()
  const { tenant, entry: schedule } = owned
  const [runs, setRuns] = useState<ScheduleRun[] | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  useEffect(() => {
    const leaving = new AbortController()
    const options = { tenant, signal: leaving.signal }
    app.api.json<List<ScheduleRun>>(pathOf(schedule, `/runs?limit=${HISTORY}`), options).then(
      ({ data }) => setRuns(data),
      (error) => leaving.signal.aborted || setFailure(explain(error)),
    )
    return () => leaving.abort()
  }, [])
  return (
    <Dialog
      title={`History of ${nameOf(schedule)}`}
      action="Done"
      onConfirm={async () => {}}
      onClose={onClose}
    >
      {failure !== null ? (
        <p role="alert" class="failure">
          {failure}
        </p>
      ) : runs === null ? (
        <Loading />
      ) : runs.length === 0 ? (
        <p>It has not run yet.</p>
      ) : (
        <Table
          caption="Runs"
          head={[{ name: 'What became of it' }, { name: 'Trigger' }, { name: 'Why not' }]}
        >
          {runs.map((run) => (
            <tr key={run.id}>
              <td>
                <Outcome outcome={run.outcome} job={run.job_id} at={run.scheduled_for} tenant={tenant} />
              </td>
              <td>{run.trigger}</td>
              <td class="clip" title={run.error?.message}>
                {run.error?.code}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </Dialog>
  )
}
