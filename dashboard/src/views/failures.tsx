import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Choice } from '../components/choice.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Parts } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatCount } from '../format.ts'
import { saveFile } from '../save-file.ts'
import { useApp } from '../state/app.ts'
import { type FilterOf, linkToJobs, linkToList, toQuery } from '../state/route.ts'
import type { Failure } from '../wire.ts'
import { RedriveDialog } from './redrive-dialog.tsx'

/** Failed jobs by their error, and what to do about them. */
export function FailuresView({ filter }: { filter: FilterOf<'failures'> }) {
  const overview = useApp().feed.overview.value
  const { tenant, lane, code } = filter
  const choose = (name: keyof typeof filter) => (value: string) => {
    location.hash = linkToList('failures', { ...filter, [name]: value })
  }
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
              onChange={choose('tenant')}
            />
            <Choice
              label="Lane"
              any="any lane"
              value={lane}
              values={values('lane')}
              onChange={choose('lane')}
            />
            <Choice
              label="Error"
              any="any error"
              value={code}
              values={values('code')}
              onChange={choose('code')}
            />
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

function FailureTable(props: { failures: Failure[]; onRedrive: (failure: Failure) => void }) {
  const { failures, onRedrive } = props
  const mayAct = useApp().may('jobs')
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
                href={linkToJobs({ tenant, lane, status: 'failed', error: code })}
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
                {mayAct ? (
                  <button
                    type="button"
                    class="small"
                    aria-label={`Redrive ${what}`}
                    onClick={() => onRedrive(failure)}
                  >
                    Redrive…
                  </button>
                ) : null}
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

function ExportButton({ failure: { tenant, lane, code } }: { failure: Failure }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const download = async () => {
    setBusy(true)
    try {
      const query = toQuery({ lane, error_code: code })
      const name = `failed-${tenant}-${code}.ndjson`.replace(/[^\w.-]+/g, '-')
      await saveFile(app.api, `/v1/failures/export${query}`, tenant, name)
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
