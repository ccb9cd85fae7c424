import { Empty } from '../components/empty.tsx'
import { OpenById } from '../components/open-by-id.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCount } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { DurableRunSummary } from '../state/durable-run.ts'
import { descending, type Owned } from '../state/owned-lists.ts'
import { type FilterOf, linkToDurableRun, linkToList } from '../state/route.ts'
import { useOwned } from '../state/use-owned.ts'
import { OwnedList, TenantChoice } from './owned-list.tsx'

/** The time between two reads of the list, ms. */
const READ_EVERY_MS = 3_000

const newest = descending<DurableRunSummary>((run) => run.created_at)

/** The latest durable runs of all tenants. */
export function DurableRunsView({ filter: { tenant } }: { filter: FilterOf<'durable'> }) {
  const tenants = useApp().feed.overview.value?.tenants ?? []
  const owner = tenant || (tenants.length === 1 ? tenants[0]!.id : '')
  const list = useOwned({ path: '/v1/durable', tenant, everyMs: READ_EVERY_MS, order: newest })
  return (
    <>
      <div class="page-head">
        <h1>Durable runs</h1>
        <p class="muted">Functions of yours whose steps are kept here; the newest run first.</p>
        {owner === '' ? null : (
          <OpenById
            label="Open a run by its id"
            placeholder="report-1"
            onOpen={(id) => {
              location.hash = linkToDurableRun(id, owner)
            }}
          />
        )}
      </div>
      <search class="filters" aria-label="Filter durable runs">
        <TenantChoice
          tenant={tenant}
          onChange={(chosen) => {
            location.hash = linkToList('durable', { tenant: chosen })
          }}
        />
      </search>
      <OwnedList
        list={list}
        table={(found) => <Runs found={found} />}
        empty={
          <Empty title="There are no durable runs.">
            <p>
              <code>client.durable</code> makes one with its first step, as does{' '}
              <code>PUT /v1/durable/…/steps/…</code>.
            </p>
          </Empty>
        }
      />
    </>
  )
}

function Runs({ found }: { found: Owned<DurableRunSummary>[] }) {
  return (
    <Table
      caption="Durable runs"
      head={[
        { name: 'Run' },
        { name: 'Tenant' },
        { name: 'Began' },
        { name: 'Steps', isNumber: true },
        { name: 'Signals', isNumber: true },
        { name: 'Kept until' },
      ]}
    >
      {found.map(({ tenant, entry: run }) => (
        <tr key={`${tenant} ${run.id}`}>
          <th scope="row" class="clip" title={run.id}>
            <a href={linkToDurableRun(run.id, tenant)}>{run.id}</a>
          </th>
          <td>{tenant}</td>
          <td class="num">
            <Time at={run.created_at} />
          </td>
          <td class="num right">{formatCount(run.step_count)}</td>
          <td class="num right">{formatCount(run.signal_count)}</td>
          <td class="num">
            <Time at={run.expires_at} />
          </td>
        </tr>
      ))}
    </Table>
  )
}
