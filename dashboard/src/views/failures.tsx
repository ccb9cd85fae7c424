import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Parts } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatCount } from '../format.ts'
import { useApp } from '../state/app.ts'
import { linkToJobs, toQuery } from '../state/route.ts'
import type { Failure } from '../wire.ts'
import { RedriveDialog } from './redrive-dialog.tsx'

/** Failed jobs by what failed them, and what to do about them. */
export function FailuresView() {
  const overview = useApp().feed.overview.value
  const [tenant, setTenant] = useState('')
  const [lane, setLane] = useState('')
  const [code, setCode] = useState('')
  const [asked, setAsked] = useState<Failure | null>(null)
  const failures = overview?.failures ?? []
  if (overview === null) return <Loading />
  const shown = failures
    .filter(
      (failure) =>
        (tenant === '' || failure.tenant === tenant) &&
        (lane === '' || failure.lane === lane) &&
        (code === '' || failure.code === code),
    )
    .sort((a, b) => b.count - a.count)
  const total = shown.reduce((sum, { count }) => sum + count, 0)
  const values = (name: 'tenant' | 'lane' | 'code') =>
    [...new Set(failures.map((failure) => failure[name]))].sort()
  return (
    <>
      <div class="page-head">
        <h1>Failures</h1>
        <p class="muted">
          <b class="num">{countOf(total, 'failed job')}</b> kept. Redriving queues them again with fresh
          tries, the oldest failures first.
        </p>
      </div>
      {failures.length === 0 ? (
        <Empty title="Nothing has failed.">
          <p>Jobs that fail stand here by their error, until they are redriven or forgotten.</p>
        </Empty>
      ) : (
        <>
          <search class="filters" aria-label="Filter failures">
            <Choice
              label="Tenant"
              any="any tenant"
              value={tenant}
              values={values('tenant')}
              onChange={setTenant}
            />
            <Choice label="Lane" any="any lane" value={lane} values={values('lane')} onChange={setLane} />
            <Choice label="Error" any="any error" value={code} values={values('code')} onChange={setCode} />
          </search>
          <section class="panel">
            <FailureTable failures={shown} onRedrive={setAsked} />
          </section>
        </>
      )}
      {asked === null ? null : <RedriveDialog failure={asked} onClose={() => setAsked(null)} />}
    </>
  )
}

function Choice(props: {
  label: string
  any: string
  value: string
  values: string[]
  onChange: (value: string) => void
}) {
  const { label, any, value, values, onChange } = props
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">{any}</option>
        {values.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  )
}

function FailureTable(props: { failures: Failure[]; onRedrive: (failure: Failure) => void }) {
  const { failures, onRedrive } = props
  const most = Math.max(1, ...failures.map(({ count }) => count))
  return (
    <Table
      caption="Failed jobs by error, lane and tenant"
      head={[
        { name: 'Error' },
        { name: 'Lane' },
        { name: 'Tenant' },
        { name: 'Jobs', isNumber: true },
        { name: 'Compared', isHidden: true },
        { name: 'Last one' },
        { name: 'Trying again' },
        { name: 'Actions', isHidden: true },
      ]}
    >
      {failures.map((failure) => {
        const { tenant, lane, code, count, last_at, retryable } = failure
        const what = nameFailure(failure)
        return (
          <tr key={what}>
            <th scope="row">
              <code>{code}</code>
            </th>
            <td>{lane}</td>
            <td>{tenant}</td>
            <td class="num right">
              <a
                href={linkToJobs({ tenant, lane, status: 'failed' })}
                aria-label={`${countOf(count, 'failed job')}: ${what}`}
              >
                {formatCount(count)}
              </a>
            </td>
            <td class="wide-bar">
              <Parts label={code} total={most} parts={[{ name: 'failed', count, tone: 'bad' }]} />
            </td>
            <td class="num">
              <Time at={last_at} />
            </td>
            <td>
              {retryable ? <Chip tone="good" label="may help" /> : <Chip tone="warn" label="seldom helps" />}
            </td>
            <td class="right">
              <div class="buttons">
                <ExportButton failure={failure} />
                <button
                  type="button"
                  class="small"
                  aria-label={`Redrive ${what}`}
                  onClick={() => onRedrive(failure)}
                >
                  Redrive…
                </button>
              </div>
            </td>
          </tr>
        )
      })}
    </Table>
  )
}

function nameFailure({ code, lane, tenant }: Failure): string {
  return `${code}, ${lane}, ${tenant}`
}

/** Fetched, not linked to, because a link would carry no key. */
function ExportButton({ failure: { tenant, lane, code } }: { failure: Failure }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const download = async () => {
    setBusy(true)
    try {
      const query = toQuery({ lane, error_code: code })
      const { response } = await app.api.open(`/v1/failures/export${query}`, { tenant })
      const url = URL.createObjectURL(await response.blob())
      const link = document.createElement('a')
      link.href = url
      link.download = `failed-${tenant}-${code}.ndjson`.replace(/[^\w.-]+/g, '-')
      link.click()
      URL.revokeObjectURL(url)
    } catch (error) {
      app.notify('bad', explain(error))
    }
    setBusy(false)
  }
  return (
    <button
      type="button"
      class="small"
      disabled={isBusy}
      aria-label={`Export ${code}, ${lane}, ${tenant}`}
      title="Their requests and errors, one job a line"
      onClick={download}
    >
      Export
    </button>
  )
}
