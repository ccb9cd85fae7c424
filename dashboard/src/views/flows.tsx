import { Chip } from '../components/chip.tsx'
import { Choice } from '../components/choice.tsx'
import { Empty } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCostSum, nothing } from '../format.ts'
import { descending, type Owned } from '../state/owned-lists.ts'
import { type FilterOf, linkToFlow, linkToList } from '../state/route.ts'
import { useOwned } from '../state/use-owned.ts'
import type { FlowStatus, FlowSummary } from '../wire.ts'
import { OwnedList, TenantChoice } from './owned-list.tsx'

/** Time between two reads of the list, ms. */
const READ_EVERY_MS = 3_000

const newest = descending<FlowSummary>((flow) => flow.created_at)

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
export function FlowsView({ filter }: { filter: FilterOf<'flows'> }) {
  const { tenant, status } = filter
  const list = useOwned({
    path: '/v1/flows',
    ...{ query: { status }, tenant, everyMs: READ_EVERY_MS, order: newest },
  })
  const choose = (name: keyof typeof filter) => (value: string) => {
    location.hash = linkToList('flows', { ...filter, [name]: value })
  }
  return (
    <>
      <div class="page-head">
        <h1>Flows</h1>
        <p class="muted">Steps that use one another’s results; the newest flow first.</p>
      </div>
      <search class="filters" aria-label="Filter flows">
        <TenantChoice tenant={tenant} onChange={choose('tenant')} />
        <Choice
          label="State"
          any="any state"
          value={status}
          values={Object.keys(tones)}
          onChange={choose('status')}
        />
      </search>
      <OwnedList
        list={list}
        table={(found) => <Flows found={found} />}
        empty={
          status === '' ? (
            <Empty title="There are no flows.">
              <p>
                <code>POST /v1/flows</code> makes one, as does <code>sluice flows run</code>.
              </p>
            </Empty>
          ) : (
            <Empty title="No flow is in this state." />
          )
        }
      />
    </>
  )
}

function Flows({ found }: { found: Owned<FlowSummary>[] }) {
  return (
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
      {found.map(({ tenant, entry: flow }) => {
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
  )
}
