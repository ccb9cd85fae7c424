import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Parts } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCount } from '../format.ts'
import { useApp } from '../state/app.ts'
import { linkToJobs, toQuery } from '../state/route.ts'
import type { Failure, FailureClass, List } from '../wire.ts'
import { RedriveDialog } from './redrive-dialog.tsx'

/** Failed jobs by what failed them, and what to do about them. */
export function FailuresView() {
  const overview = useApp().feed.overview.value
  const [tenant, setTenant] = useState('')
  const [lane, setLane] = useState('')
  const [code, setCode] = useState('')
  const [asked, setAsked] = useState<Failure | null>(null)
  const failures = overview?.failures ?? []
  const retryable = useRetryable(failures)
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
          <b class="num">{formatCount(total)}</b> failed jobs are kept. Redriving queues them again with fresh
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
            <FailureTable failures={shown} retryable={retryable} onRedrive={setAsked} />
          </section>
        </>
      )}
      {asked === null ? null : (
        <RedriveDialog
          failure={asked}
          isLasting={retryable.get(nameFailure(asked)) === false}
          onClose={() => setAsked(null)}
        />
      )}
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

function FailureTable(props: {
  failures: Failure[]
  retryable: Map<string, boolean>
  onRedrive: (failure: Failure) => void
}) {
  const { failures, retryable, onRedrive } = props
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
        const { tenant, lane, code, count, last_at } = failure
        const what = nameFailure(failure)
        const mayHelp = retryable.get(what)
        return (
          <tr key={what}>
            <th scope="row" class="breakable">
              <code>{code}</code>
            </th>
            <td>{lane}</td>
            <td>{tenant}</td>
            <td class="num right">
              <a
                href={linkToJobs({ tenant, lane, status: 'failed' })}
                aria-label={`${count} failed jobs: ${what}`}
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
              {mayHelp === undefined ? null : mayHelp ? (
                <Chip tone="good" label="may help" />
              ) : (
                <Chip tone="warn" label="seldom helps" />
              )}
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

/** Whether trying again may help against each, as far as the API has said so by now. */
function useRetryable(failures: Failure[]): Map<string, boolean> {
  const { api } = useApp()
  const [retryable, setRetryable] = useState(new Map<string, boolean>())
  const names = failures.map(nameFailure).sort().join('\n')
  // Only other errors are a reason to ask again, not other counts.
  useEffect(() => {
    const leaving = new AbortController()
    const { signal } = leaving
    for (const tenant of new Set(failures.map((failure) => failure.tenant))) {
      api.json<List<FailureClass>>('/v1/failures', { tenant, signal }).then(
        ({ data }) =>
          setRetryable(
            (known) =>
              new Map([
                ...known,
                ...data.map(
                  (one) => [nameFailure({ ...one, tenant, last_at: null }), one.retryable] as const,
                ),
              ]),
          ),
        // Without it the page only says less.
        () => {},
      )
    }
    return () => leaving.abort()
  }, [api, names])
  return retryable
}

/** Fetched, not linked to, for a link would carry no key. */
function ExportButton({ failure: { tenant, lane, code } }: { failure: Failure }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const download = async () => {
    setBusy(true)
    try {
      const query = toQuery({ lane, error_code: code })
      const response = await app.api.open(`/v1/failures/export${query}`, { tenant })
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
