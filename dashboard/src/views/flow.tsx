import { useEffect, useMemo, useState } from 'preact/hooks'
import { Chip } from '../components/chip.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Loading } from '../components/empty.tsx'
import { Json } from '../components/json.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCostSum, nothing } from '../format.ts'
import { useApp } from '../state/app.ts'
import { linkToJob } from '../state/route.ts'
import { watch } from '../state/watch.ts'
import type { Flow, FlowStep } from '../wire.ts'
import { FlowGraph, stepTones } from './flow-graph.tsx'
import { FlowChip } from './flows.tsx'

/** One flow: its graph with the live states of its steps, and actions. */
export function FlowView({ id, tenant }: { id: string; tenant: string }) {
  const { api } = useApp()
  const watching = useMemo(
    () =>
      watch<Flow>({
        api,
        path: `/v1/flows/${encodeURIComponent(id)}`,
        events: { flow: id },
        tenant,
        everyMs: null,
        isHidden: () => document.hidden,
        now: Date.now,
        random: Math.random,
      }),
    [api, id, tenant],
  )
  useEffect(() => watching.stop, [watching])
  const flow = watching.body.value
  const failure = watching.failure.value
  const connection = watching.connection.value
  const alert =
    failure === null ? null : (
      <p role="alert" class="failure">
        {failure.status === 404 ? `There is no flow ${id}, or not any more.` : failure.message}
      </p>
    )
  if (flow === null) return failure === null ? <Loading /> : alert
  const steps = Object.entries(flow.steps)
  return (
    <>
      <div class="page-head">
        <h1>{flow.name}</h1>
        <FlowChip status={flow.status} />
        <FlowActions flow={flow} tenant={tenant} onChange={watching.refresh} />
      </div>
      <p class="muted mono">
        {flow.id} · {formatCostSum(flow)}
      </p>
      {connection.kind === 'lost' || connection.kind === 'refused' ? (
        <p role="status" class="failure">
          What you see does not change by itself:{' '}
          {connection.kind === 'lost' ? connection.reason : connection.message}
        </p>
      ) : null}
      {alert}
      {flow.error === null ? null : (
        <p class="failure">
          {flow.error.code}: {flow.error.message}
        </p>
      )}
      <section class="panel">
        <h2>Graph</h2>
        <FlowGraph steps={steps} tenant={tenant} />
      </section>
      <section class="panel">
        <h2>Steps</h2>
        <Steps steps={steps} tenant={tenant} />
      </section>
      {flow.output === null ? null : (
        <section class="panel">
          <h2>Output</h2>
          {typeof flow.output === 'string' ? (
            <p>{flow.output}</p>
          ) : (
            <Json name="output" value={flow.output} />
          )}
        </section>
      )}
    </>
  )
}

function Steps({ steps, tenant }: { steps: [string, FlowStep][]; tenant: string }) {
  const head = ['Step', 'State', 'Needs', 'Jobs', 'Started', 'Finished', 'Job', 'Error']
  return (
    <Table caption="Steps" head={head.map((name) => ({ name, isNumber: name === 'Jobs' }))}>
      {steps.map(([name, step]) => (
        <tr key={name}>
          <th scope="row">{name}</th>
          <td>
            <Chip tone={stepTones[step.status]} label={step.status} />
          </td>
          <td>{step.needs.join(', ') || nothing}</td>
          <td class="num right">
            {step.jobs.total === 0 ? nothing : `${step.jobs.completed + step.jobs.failed}/${step.jobs.total}`}
          </td>
          <td class="num">
            <Time at={step.started_at} />
          </td>
          <td class="num">
            <Time at={step.finished_at} />
          </td>
          <td>{step.job_id === null ? nothing : <a href={linkToJob(step.job_id, tenant)}>job</a>}</td>
          <td class="clip" title={step.error?.message}>
            {step.error?.code ?? nothing}
          </td>
        </tr>
      ))}
    </Table>
  )
}

const questions = {
  cancel: {
    title: 'Cancel this flow?',
    action: 'Cancel the flow',
    text: 'It ends at once, with its jobs. Steps that completed stay as they are.',
    done: 'The flow is cancelled.',
  },
  retry: {
    title: 'Go on from what failed?',
    action: 'Go on',
    text: 'Failed and cancelled steps run again and are paid for again. Completed steps stay.',
    done: 'The flow goes on.',
  },
} as const

function FlowActions({ flow, tenant, onChange }: { flow: Flow; tenant: string; onChange: () => void }) {
  const app = useApp()
  const [asked, setAsked] = useState<keyof typeof questions | null>(null)
  const isOpen = flow.status === 'running' || flow.status === 'waiting'
  const act = async (action: keyof typeof questions) => {
    await app.api.json(`/v1/flows/${encodeURIComponent(flow.id)}/${action}`, { method: 'POST', tenant })
    app.notify('good', questions[action].done)
    onChange()
  }
  if (!app.may('jobs')) return null
  return (
    <div class="buttons">
      {isOpen ? (
        <button type="button" onClick={() => setAsked('cancel')}>
          Cancel…
        </button>
      ) : flow.status === 'completed' ? null : (
        <button type="button" onClick={() => setAsked('retry')}>
          Go on…
        </button>
      )}
      {asked === null ? null : (
        <Dialog
          title={questions[asked].title}
          action={questions[asked].action}
          onConfirm={() => act(asked)}
          onClose={() => setAsked(null)}
        >
          <p>{questions[asked].text}</p>
        </Dialog>
      )}
    </div>
  )
}
