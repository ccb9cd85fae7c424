import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCostSum, nothing } from '../format.ts'
import { useApp } from '../state/app.ts'
import { linkToFlow } from '../state/route.ts'
import type { FlowStatus, FlowSummary, List } from '../wire.ts'

/** They are read again so often, ms. */
const READ_EVERY_MS = 3_000
/** Of each tenant, and of all; the command line lists more. */
const MOST = 100

type Owned = { tenant: string; flow: FlowSummary }

const tones = {
  running: 'info',
  waiting: 'warn',
  completed: 'good',
  failed: 'bad',
  cancelled: 'warn',
} as const

export function FlowChip({ status }: { status: FlowStatus }) {
  return <Chip tone={tones[status]} label={status} />
}

/** The latest flows of all tenants. */
export function FlowsView() {
  const app = useApp()
  const names = (app.feed.overview.value?.tenants ?? []).map(({ id }) => id).join('\n')
  const [found, setFound] = useState<Owned[] | null>(null)
  const [failure, setFailure] = useState<string | null>(null)

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
              const path = `/v1/flows?limit=${MOST}`
              const list = await app.api.json<List<FlowSummary>>(path, { tenant, signal })
              return list.data.map((flow) => ({ tenant, flow }))
            }),
          )
          const newest = (one: Owned, other: Owned) => (one.flow.created_at < other.flow.created_at ? 1 : -1)
          setFound(lists.flat().sort(newest).slice(0, MOST))
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
  }, [names])

  return (
    <>
      <div class="page-head">
        <h1>Flows</h1>
        <p class="muted">Steps that use one another's results.</p>
      </div>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      {found !== null ? <Flows found={found} /> : failure === null ? <Loading /> : null}
    </>
  )
}

function Flows({ found }: { found: Owned[] }) {
  if (found.length === 0) {
    return (
      <Empty title="There are no flows.">
        <p>
          <code>POST /v1/flows</code> makes one, as does <code>sluice flows run</code>.
        </p>
      </Empty>
    )
  }
  return (
    <section class="panel">
      <Table
        caption="Flows"
        head={[
          { name: 'Flow' },
          { name: 'Tenant' },
          { name: 'State' },
          { name: 'Steps', isNumber: true },
          { name: 'Created' },
          { name: 'Finished' },
          { name: 'Cost', isNumber: true },
          { name: 'Error' },
        ]}
      >
        {found.map(({ tenant, flow }) => {
          const { total, completed, failed, skipped } = flow.step_counts
          return (
            <tr key={flow.id}>
              <th scope="row" class="clip" title={flow.id}>
                <a href={linkToFlow(flow.id, tenant)}>{flow.name}</a>
              </th>
              <td>{tenant}</td>
              <td>
                <FlowChip status={flow.status} />
              </td>
              <td class="num right">
                {completed + failed + skipped}/{total}
              </td>
              <td class="num">
                <Time at={flow.created_at} />
              </td>
              <td class="num">
                <Time at={flow.finished_at} />
              </td>
              <td class="num right">{formatCostSum(flow)}</td>
              <td>{flow.error?.code ?? nothing}</td>
            </tr>
          )
        })}
      </Table>
    </section>
  )
}
