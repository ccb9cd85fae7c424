import { useEffect, useMemo, useState } from 'preact/hooks'
import { Chip } from '../components/chip.tsx'
import { Choice } from '../components/choice.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, nothing, toWords } from '../format.ts'
import { useApp } from '../state/app.ts'
import {
  countSteps,
  type DurableRun,
  type DurableStep,
  describeRun,
  stepStatuses,
  stepTones,
} from '../state/durable-run.ts'
import { linkToJob, linkToList } from '../state/route.ts'
import { watch } from '../state/watch.ts'
import { DeleteRunButton, SendSignalButton } from './durable-actions.tsx'
import { MoreButton } from './owned-list.tsx'

/** The longest time without a read, ms: jobs have events, but sleeps and signals have none. */
const READ_EVERY_MS = 3_000

/** How many steps are shown at first, and how many more with each press of the button. */
const SHOWN = 100

/** The page of a durable run: its steps with their states and jobs, and what you can do. */
export function DurableRunView({ id, tenant }: { id: string; tenant: string }) {
  const { api } = useApp()
  const watching = useMemo(
    () =>
      watch<DurableRun>({
        api,
        path: `/v1/durable/${encodeURIComponent(id)}`,
        events: { durable: id },
        tenant,
        everyMs: READ_EVERY_MS,
        isHidden: () => document.hidden,
        now: Date.now,
        random: Math.random,
      }),
    [api, id, tenant],
  )
  useEffect(() => watching.stop, [watching])
  const run = watching.body.value
  const failure = watching.failure.value
  const isGone = failure?.status === 404
  if (run === null) {
    if (failure === null) return <Loading />
    return (
      <>
        <h1>{isGone ? 'There is no such run' : 'The run cannot be read'}</h1>
        <p role="alert" class="failure breakable">
          {isGone
            ? `${id} is not known${tenant === '' ? '' : ` to the tenant ${tenant}`}, or not any more.`
            : failure.message}
        </p>
        <p>
          <a href={linkToList('durable', { tenant })}>All durable runs</a>
        </p>
      </>
    )
  }
  const { tone, label } = describeRun(run)
  return (
    <>
      <div class="page-head">
        <h1>{run.id}</h1>
        {isGone ? null : <Chip tone={tone} label={label} />}
        {watching.connection.value.kind === 'lost' ? (
          <Chip tone="warn" label="events are interrupted" />
        ) : null}
        {isGone ? null : <DeleteRunButton id={run.id} tenant={tenant} />}
      </div>
      <p class="muted">
        {countOf(run.steps.length, 'step')}
        {run.steps.length === 0 ? null : `: ${countSteps(run.steps)}`}. Began <Time at={run.created_at} />.
        Only its own process knows whether the function has returned.
      </p>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {isGone ? 'This run is deleted; here is what was seen of it.' : failure.message}
        </p>
      )}
      <Steps run={run} tenant={tenant} onChange={watching.refresh} />
    </>
  )
}

function Steps({ run, tenant, onChange }: { run: DurableRun; tenant: string; onChange: () => void }) {
  const [status, setStatus] = useState('')
  const [most, setMost] = useState(SHOWN)
  const chosen = run.steps.filter((step) => status === '' || step.status === status).reverse()
  return (
    <>
      <search class="filters" aria-label="Filter steps">
        <Choice label="State" any="any state" value={status} values={stepStatuses} onChange={setStatus} />
      </search>
      {chosen.length === 0 ? (
        <Empty title={status === '' ? 'No step of this run is kept.' : 'No step is in this state.'} />
      ) : (
        <section class="panel">
          <h2>
            Steps <span class="muted">the newest first</span>
          </h2>
          <Table
            caption="Steps"
            head={[
              ...['Step', 'Kind', 'State', 'Began', 'Until', 'Signal sent', 'Job'].map((name) => ({ name })),
              { name: 'Actions', isHidden: true },
            ]}
          >
            {chosen.slice(0, most).map((step) => (
              <Row key={step.name} {...{ run, step, tenant, onChange }} />
            ))}
          </Table>
        </section>
      )}
      {chosen.length > most ? <MoreButton what="steps" onPress={() => setMost(most + SHOWN)} /> : null}
    </>
  )
}

function Row(props: { run: DurableRun; step: DurableStep; tenant: string; onChange: () => void }) {
  const { run, step, tenant, onChange } = props
  return (
    <tr>
      <th scope="row" class="clip" title={step.name}>
        {step.name}
      </th>
      <td>{step.kind}</td>
      <td>
        <Chip tone={stepTones[step.status]} label={toWords(step.status)} />
      </td>
      <td class="num">
        <Time at={step.created_at} />
      </td>
      <td class="num">
        <Time at={step.wake_at} />
      </td>
      <td class="num">
        <Time at={step.sent_at} />
      </td>
      <td>
        {step.job_id === null ? (
          nothing
        ) : (
          <a href={linkToJob(step.job_id, tenant)} aria-label={`job of ${step.name}`}>
            job
          </a>
        )}
      </td>
      <td class="right">
        {step.kind === 'signal' && step.status === 'waiting' ? (
          <SendSignalButton id={run.id} name={step.name} tenant={tenant} onSent={onChange} />
        ) : null}
      </td>
    </tr>
  )
}
